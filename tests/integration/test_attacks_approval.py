"""Attacks by a moat.yaml that the user did not write: by a sandbox, by another user, by a clone.

Each has its control: the same file where a person has approved of it, which shows that the approval
alone stands between it and what it reaches.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from moat_nb import ApprovalNeeded, ConfigError, Sandbox
from moat_nb.config.reader import load
from moat_nb.host.machine import User
from moat_nb.jupyter.server.workspace import Workspace
from moat_nb.sandbox.approval import check
from moat_nb.sandbox.project import plan_project
from tests import ordinary_user
from tests.integration.conftest import Launcher
from tests.ordinary_user import ORDINARY

MARKER = "the user's key"

Files = dict[str, Any]


@pytest.fixture
def lure(run_directory: Path, owner: User) -> Iterator[Path]:
    """A directory of the user's outside the project, with a key in it."""
    directory = run_directory / "lure" / "private"
    directory.mkdir(parents=True)
    (directory / "id").write_text(MARKER)
    for path in (directory, directory / "id"):
        os.chown(path, owner.uid, owner.gid)
    yield directory
    shutil.rmtree(directory.parent)


def mounting(lure: Path, file: Files) -> None:
    file["mounts"].append(f"{lure.parent}:/lure:ro")


def secret(lure: Path, file: Files) -> None:
    file["secrets"] = {"KEY": "env://MOAT_LURE"}


def without_exclude(lure: Path, file: Files) -> None:
    file["mounts"][0]["exclude"] = []


def beside_exclude(lure: Path, file: Files) -> None:
    file["mounts"].append("./.env:/lure.env:ro")


def in_place_of_the_workspace(lure: Path, file: Files) -> None:
    file["mounts"] = [f"{lure.parent}:/workspace"]


READ = (
    "import os, pathlib; "
    "found = [os.environ.get('KEY', '')] + [p.read_text() for p in map(pathlib.Path, "
    "('/lure/private/id', '/workspace/private/id', '/workspace/.env', '/lure.env')) "
    "if p.exists()]; "
    "print('read' if any(found) else 'nothing')"
)

REWRITES: dict[str, tuple[Callable[[Path, Files], None], bool]] = {
    "mount a directory elsewhere": (mounting, True),
    "a secret of the environment": (secret, True),
    "take the home's part for the workspace": (in_place_of_the_workspace, True),
    # These stay within the project: what is held against them is the last start.
    "take an exclude away": (without_exclude, False),
    "mount what is excluded": (beside_exclude, False),
}


def reads(box: Sandbox) -> str:
    return box.run(["python3", "-c", READ], check=True).stdout.decode().strip()


@pytest.fixture
def plain(launcher: Launcher) -> Path:
    project = launcher.project(".env")
    (project / ".env").write_text(MARKER)
    launcher.give(project / ".env", launcher.owner)
    return project


def rewrite(project: Path, lure: Path, how: Callable[[Path, Files], None]) -> None:
    file = yaml.safe_load((project / "moat.yaml").read_text())
    how(lure, file)
    (project / "moat.yaml").write_text(yaml.safe_dump(file))


def tried(start: Callable[[], Sandbox]) -> str:
    try:
        box = start()
    except ApprovalNeeded:
        return "asks a person"
    return reads(box)


@pytest.mark.parametrize("name", REWRITES)
def test_a_file_that_a_sandbox_rewrote_gets_nothing_by_a_restart_or_a_start(
    launcher: Launcher,
    plain: Path,
    lure: Path,
    name: str,
    table: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    how, _ = REWRITES[name]
    monkeypatch.setenv("MOAT_LURE", MARKER)
    box = launcher.launch(plain, approve=None)
    assert reads(box) == "nothing"
    rewrite(plain, lure, how)

    def again() -> Sandbox:
        box.relaunch()
        return box

    def reset() -> Sandbox:
        box.reset()
        return box

    restarted = tried(again)
    happened = tried(reset)
    started = tried(lambda: launcher.launch(plain, approve=None))
    controlled = tried(lambda: launcher.launch(plain))
    table(f"restart: {name}", launcher.runtime, "nothing", restarted, controlled)
    table(f"start anew: {name}", launcher.runtime, "asks a person", started, controlled)
    assert (restarted, happened, started) == ("nothing", "asks a person", "asks a person")
    assert box.gone is None, "a reset that was refused leaves the sandbox"
    assert controlled == "read"


def test_a_restart_of_an_old_file_asks_nobody_and_takes_nothing_back(
    launcher: Launcher, plain: Path, lure: Path
) -> None:
    before = (plain / "moat.yaml").read_text()
    rewrite(plain, lure, without_exclude)
    box = launcher.launch(plain)
    assert reads(box) == "read"
    (plain / "moat.yaml").write_text(before)
    assert reads(launcher.launch(plain, approve=None)) == "nothing"
    box.relaunch()
    assert reads(box) == "read"
    rewrite(plain, lure, without_exclude)
    assert tried(lambda: launcher.launch(plain, approve=None)) == "asks a person"


def test_a_link_that_a_sandbox_puts_above_a_source_is_not_followed_by_a_restart(
    launcher: Launcher, plain: Path, lure: Path, table: Any
) -> None:
    """Nor by the sandbox of `moat-nb lab` that reads files."""
    shared = plain.parent / "shared"
    (shared / "deep" / "private").mkdir(parents=True)
    for path in (shared, shared / "deep", shared / "deep" / "private"):
        launcher.give(path, launcher.owner)

    def sharing(lure: Path, file: Files) -> None:
        file["mounts"] += [f"{shared}:/shared", f"{shared}/deep/private:/lure/private:ro"]

    rewrite(plain, lure, sharing)
    box = launcher.launch(plain)
    approved = check(plan_project(plain, launcher.runtime))
    workspace = Workspace(load(plain, home=Path.home()), launcher.runtime, approved)
    workspace.start()
    workspace._running().stop()
    swap = f"mv /shared/deep /shared/old && ln -s {lure.parent} /shared/deep"
    box.run(["sh", "-c", swap], check=True)

    def again() -> Sandbox:
        box.relaunch()
        return box

    happened = tried(again)
    with pytest.raises(ApprovalNeeded, match="private, read-only"):
        workspace.start()
    controlled = tried(lambda: launcher.launch(plain))
    what = "restart: put a link above a source"
    table(what, launcher.runtime, "asks a person", happened, controlled)
    assert (happened, controlled) == ("asks a person", "read")


@pytest.mark.parametrize("name", [name for name, (_, first) in REWRITES.items() if first])
def test_a_hostile_clone_gets_nothing_at_its_first_start(
    launcher: Launcher,
    plain: Path,
    lure: Path,
    name: str,
    table: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOAT_LURE", MARKER)
    rewrite(plain, lure, REWRITES[name][0])
    happened = tried(lambda: launcher.launch(plain, approve=None))
    controlled = tried(lambda: launcher.launch(plain))
    table(f"a clone: {name}", launcher.runtime, "asks a person", happened, controlled)
    assert (happened, controlled) == ("asks a person", "read")


def test_a_place_of_keys_needs_more_than_a_yes(
    launcher: Launcher, plain: Path, lure: Path, table: Any
) -> None:
    lure = lure.rename(lure.with_name(".ssh"))
    rewrite(plain, lure, lambda lure, file: file["mounts"].append(f"{lure}:/lure/private:ro"))
    happened = tried(lambda: launcher.launch(plain))
    argv = [sys.executable, "-m", "moat_nb", "allow", str(plain), "--yes", "--keys", str(lure)]
    subprocess.run(argv, check=True, capture_output=True)
    controlled = tried(lambda: launcher.launch(plain, approve=None))
    table("a place of keys", launcher.runtime, "asks a person", happened, controlled)
    assert (happened, controlled) == ("asks a person", "read")


@pytest.mark.parametrize("ordinary", [True, False], ids=["ordinary user", "root"])
def test_another_users_file_above_a_project_is_not_read(
    launcher: Launcher, run_directory: Path, ordinary: bool, table: Any
) -> None:
    """In a directory like /tmp, where everyone can put one."""
    shared = run_directory / "shared"
    victim = shared / "victims"
    shared.mkdir()
    shared.chmod(0o1777)
    victim.mkdir(mode=0o755)
    os.chown(victim, ORDINARY.uid, ORDINARY.gid)
    file = shared / "moat.yaml"
    file.write_text(launcher.yaml())
    os.chown(file, ORDINARY.uid + 1, ORDINARY.gid + 1)
    argv = [sys.executable, "-m", "moat_nb", "run", "-q", "--runtime", launcher.runtime]
    argv += [str(victim), "--", "echo", "obeyed"]
    env = {**os.environ, "HOME": "/proc/nonexistent", "XDG_RUNTIME_DIR": "", "XDG_DATA_HOME": ""}

    def run() -> str:
        if ordinary:
            done = ordinary_user.run(argv, env=env, cwd="/")
        else:
            done = subprocess.run(argv, capture_output=True, text=True, env=os.environ, check=False)
        refused = "belongs to" in done.stderr or "can be written by everyone" in done.stderr
        return "refused" if refused else done.stdout.strip() or done.stderr

    try:
        happened = run()
        shared.chmod(0o755)
        for path in (shared, file):
            os.chown(path, ORDINARY.uid, ORDINARY.gid)
        controlled = run()
    finally:
        shutil.rmtree(shared)
    who = "ordinary user" if ordinary else "root"
    table(f"another user's file ({who})", launcher.runtime, "refused", happened, controlled)
    assert (happened, controlled) == ("refused", "obeyed")


def test_a_root_launcher_takes_no_file_of_a_user_from_a_directory_of_anothers(
    launcher: Launcher, plain: Path
) -> None:
    os.chown(plain / "moat.yaml", ORDINARY.uid + 1, ORDINARY.gid + 1)
    with pytest.raises(ConfigError, match="belongs to"):
        launcher.launch(plain)
    os.chown(plain / "moat.yaml", ORDINARY.uid, ORDINARY.gid)
    assert launcher.launch(plain).run(["true"]).returncode == 0
