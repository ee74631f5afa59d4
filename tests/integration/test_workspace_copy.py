"""`workspace.mode: volume` on real sandboxes: the project is as it was, until it is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moat_nb.cli.bench.kernels import native_kernel
from moat_nb.host.machine import Host
from moat_nb.planning.workspace_copy import directory_of
from tests import ordinary_user
from tests.integration.conftest import Launcher
from tests.integration.frontend import FrontEnd
from tests.integration.snapshot import snapshot
from tests.served import home_of, served

VOLUME = {"workspace": {"mode": "volume"}}


def commanded(project: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "moat_nb", *words, "--project", str(project)],
        capture_output=True,
        text=True,
        check=False,
        cwd=project,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture
def copied(launcher: Launcher) -> Iterator[Path]:
    made = launcher.project("node_modules", ".env", **VOLUME)
    (made / "node_modules").mkdir()
    (made / "node_modules/x").write_text("the host's own")
    (made / ".env").write_text("SECRET=1")
    (made / "data").mkdir()
    (made / "data/in.csv").write_text("1\n")
    for path in (made, *made.rglob("*")):
        launcher.give(path, launcher.owner)
    yield made
    commanded(made, "discard", "--yes")
    assert list(directory_of(made, Host.current()).iterdir()) == [
        directory_of(made, Host.current()) / "lock"
    ]


def test_a_sandbox_works_on_a_copy_and_what_it_did_is_brought_back(
    launcher: Launcher, copied: Path
) -> None:
    before = snapshot(copied)
    told: list[tuple[str, str]] = []
    with launcher.launch(copied, on_event=lambda *event: told.append(event)) as box:
        script = (
            "set -e; cat data/in.csv; cat .env; ls node_modules; echo 2 >> data/in.csv; mkdir out; "
            "echo made > out/result; cp /bin/true node_modules/true; node_modules/true; "
            "ln -s /etc/passwd leads-out; echo 'name: other' >> moat.yaml"
        )
        done = box.run(["sh", "-c", script], check=True)
        assert done.stdout == b"1\n"
        assert any("a copy of" in notice for notice in box.notices)
    assert snapshot(copied) == before
    assert [text for kind, text in told if kind == "changes"] == [
        f"4 paths differ in the copy of {copied}: `moat-nb diff` shows what, "
        "`moat-nb pull` brings it back"
    ]
    shown = commanded(copied, "diff")
    assert "+2" in shown and "leads out: a link to /etc/passwd" in shown
    commanded(copied, "pull", code=1)
    assert (copied / "data/in.csv").read_text() == "1\n2\n"
    assert (copied / "out/result").read_text() == "made\n"
    assert not (copied / "leads-out").is_symlink()
    assert "other" not in (copied / "moat.yaml").read_text()
    assert (copied / ".env").read_text() == "SECRET=1"
    assert [path.name for path in (copied / "node_modules").iterdir()] == ["x"]


def test_the_next_sandbox_has_what_both_did_since(launcher: Launcher, copied: Path) -> None:
    with launcher.launch(copied) as box:
        box.run(["sh", "-c", "echo theirs > theirs; echo theirs > data/in.csv"], check=True)
    (copied / "ours").write_text("ours\n")
    (copied / "data/in.csv").write_text("ours\n")
    for path in (copied / "ours", copied / "data/in.csv"):
        launcher.give(path, launcher.owner)
    with launcher.launch(copied) as box:
        done = box.run(["cat", "theirs", "ours", "data/in.csv"], check=True)
        assert done.stdout == b"theirs\nours\ntheirs\n"
        assert any("data/in.csv was changed in the project and" in text for text in box.notices)
        box.reset()
        assert box.run(["cat", "theirs"], check=True).stdout == b"theirs\n"


def test_a_native_kernel_starts_where_its_notebook_lies(launcher: Launcher) -> None:
    project = launcher.project(python=True, **VOLUME)
    with native_kernel(project, launcher.runtime) as manager:
        front = FrontEnd(manager)
        ran = front.run("import os; print(os.getcwd()); open('made', 'w').write('x')")
        assert ran.text() == "/workspace\n"
        manager.restart_kernel(now=True)
        front.client.wait_for_ready(timeout=60)
        assert front.run("print(open('made').read())").text() == "x\n"
        front.client.stop_channels()
    assert not (project / "made").exists()
    assert commanded(project, "pull").split() == ["WHAT", "NOTE", "PATH", "added", "made"]
    assert (project / "made").read_text() == "x"
    commanded(project, "discard", "--yes")


def test_a_running_sandbox_keeps_its_copy(launcher: Launcher, copied: Path) -> None:
    with launcher.launch(copied) as box:
        box.run(["touch", "made"], check=True)
        commanded(copied, "discard", "--yes", code=1)
        assert "added" in commanded(copied, "diff", "--names")
        box.run(["test", "-e", "made"], check=True)


def test_changes_of_a_sandbox_on_a_copy_are_none_of_the_projects(
    launcher: Launcher, copied: Path
) -> None:
    with launcher.launch(copied) as box:
        box.run(["sh", "-c", "mkdir .vscode; echo {} > .vscode/tasks.json"], check=True)
        assert box.changes().found == ()
    assert not (copied / ".vscode").exists()


def test_an_ordinary_users_copy_closes_no_directory_of_the_projects(
    on_bubblewrap: Launcher,
) -> None:
    """What a sandbox has made unreadable is not taken for removed."""
    project = on_bubblewrap.project(**VOLUME)
    (project / "data").mkdir()
    (project / "data/in.csv").write_text("1\n")
    home = home_of(project)

    def done(*words: str) -> str:
        argv = [sys.executable, "-m", "moat_nb", *words]
        env = {"HOME": str(home), "PATH": os.environ["PATH"]}
        ran = ordinary_user.run(argv, env=env, cwd=project)
        return str(ran.stdout + ran.stderr)

    script = "echo 2 >> data/in.csv; chmod 0 data; echo new > new"
    assert "2 paths differ" in done("run", "--runtime", "bubblewrap", "--", "sh", "-c", script)
    assert "changed  it cannot be read  data\n" in done("diff", "--names")
    assert "added        new\n" in done("pull")
    assert (project / "data/in.csv").read_text() == "1\n"
    assert (project / "new").read_text() == "new\n"
    assert "removed the copy" in done("discard", "--yes")


def test_a_lab_serves_the_copy(on_bubblewrap: Launcher) -> None:
    project = on_bubblewrap.project(python=True, **VOLUME)
    (project / "in.txt").write_text("the project's")
    home = home_of(project)
    words = ["-m", "moat_nb", "lab", str(project), "--no-browser", "--runtime", "bubblewrap"]
    with served(words, home=home, cwd=home) as ours:
        code, found = ours("GET", "/api/contents/in.txt")
        assert (code, found["content"]) == (200, "the project's")
        text = {"type": "file", "format": "text", "content": "written in Lab"}
        for name in ("in.txt", "new.txt"):
            assert ours("PUT", f"/api/contents/{name}", text)[0] in (200, 201)
    assert (project / "in.txt").read_text() == "the project's"
    assert not (project / "new.txt").exists()
    argv = [sys.executable, "-m", "moat_nb", "pull"]
    env = {"HOME": str(home), "PATH": os.environ["PATH"]}
    assert ordinary_user.run(argv, env=env, cwd=project).returncode == 0
    assert (project / "in.txt").read_text() == "written in Lab"
    assert (project / "new.txt").read_text() == "written in Lab"
