"""Git and the clock in a sandbox: a worktree, a project of root's, whose commits, whose time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from moat_nb import ApprovalNeeded
from moat_nb.jupyter.kernel_manager import Kernel
from tests.integration.conftest import UNCLOSED_LOOPS, Launcher
from tests.integration.test_jupyter import run

pytestmark = UNCLOSED_LOOPS

LOOK = """
import os, time
from pathlib import Path
named = Path(".git").read_text().split()[1]
print(time.strftime("%Z", time.gmtime(0)) and time.tzname[0], os.environ["GIT_AUTHOR_NAME"])
print(Path(named, "HEAD").read_text().strip(), os.access(named, os.W_OK))
"""


@pytest.fixture
def identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = Ada King\n\temail = ada@example.org\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "Asia/Tokyo")


def git(directory: Path, *words: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "safe.directory=*")
    subprocess.run(["git", *identity, *words], cwd=directory, check=True, capture_output=True)


def worktree(launcher: Launcher) -> Path:
    project = launcher.project(python=True)
    main, made = project.parent / "main", project.parent / "made"
    main.mkdir()
    git(main, "init")
    git(main, "commit", "--allow-empty", "-m", "the first")
    git(main, "worktree", "add", "-b", "side", str(made))
    (made / ".git").rename(project / ".git")
    git(main, "worktree", "repair", str(project))
    for path in (main, *main.rglob("*"), project / ".git"):
        launcher.give(path, launcher.owner)
    return project


@pytest.mark.usefixtures("identity")
def test_a_worktree_has_its_repository_read_only_once_that_is_approved(launcher: Launcher) -> None:
    project = worktree(launcher)
    with pytest.raises(ApprovalNeeded, match=r"main/\.git, read-only") as asked:
        launcher.launch(project, approve=None)
    assert "worktree" in str(asked.value)
    box = launcher.launch(project)
    with Kernel.start(box) as kernel:
        for restarted in (False, True):
            if restarted:
                kernel.restart_kernel(now=True)
                kernel.kc.wait_for_ready(timeout=300)
            assert run(kernel.kc, LOOK) == "JST Ada King\nref: refs/heads/side False\n"
    if launcher.engine is None:  # the engine's image has no git
        told = box.run(["git", "log", "--format=%s"], check=True).stdout
        assert told == b"the first\n"
        assert b"moat.yaml" in box.run(["git", "status", "--short"], check=True).stdout


@pytest.mark.usefixtures("identity")
def test_git_commits_as_the_user_in_a_project_of_somebody_elses(on_bubblewrap: Launcher) -> None:
    project = on_bubblewrap.project()
    git(project, "init")
    directory = project / ".git"
    for path in (directory, *directory.rglob("*")) if os.getuid() == 0 else ():
        path.chmod(0o777 if path.is_dir() else 0o666)
        os.chown(path, 54321, 54321)
    box = on_bubblewrap.launch(project)
    script = "git commit -q --allow-empty -m 1 && git log --format='%an %ae %ad' --date=format:%z"
    done = box.run(["sh", "-c", script], check=True)
    assert done.stdout == b"Ada King ada@example.org +0900\n"
