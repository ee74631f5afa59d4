"""Students of this machine: system users with homes, a course of root's, and the hub's proxy."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moat_nb.host.user_cgroup import UserCgroup

END_SECONDS = 60

COURSE = """\
name: course
network: {policy: none}
container: {memory: 512}
kernel: {require_limits: true, pids: 128}
"""


def processes_of(cgroup: UserCgroup) -> tuple[int, ...]:
    """Those in there, of all cgroups below it."""
    files = Path(cgroup.cgroup.directories[0]).rglob("cgroup.procs")
    return tuple(sorted({int(pid) for file in files for pid in file.read_text().split()}))


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the tests have made of it."""

    directory: Path
    proxy: Path
    """configurable-http-proxy's program."""
    moat_yaml: Path

    def home(self, name: str) -> Path:
        return Path(pwd.getpwnam(name).pw_dir)


@contextlib.contextmanager
def machine_with(names: Sequence[str]) -> Iterator[Machine]:
    """Removed at the end with all that is in it, the users too."""
    assert os.getuid() == 0, "a hub of several system users is root's: run `make test-hub` as root"
    directory = Path(tempfile.mkdtemp(prefix="moat-nb-hub-", dir="/var/tmp"))
    directory.chmod(0o755)
    made: list[str] = []
    try:
        proxy = _proxy(directory / "proxy")
        course = directory / "course"
        course.mkdir()
        (course / "moat.yaml").write_text(COURSE)
        (directory / "homes").mkdir()
        for name in names:
            _add(name, directory / "homes")
            made.append(name)
        yield Machine(directory=directory, proxy=proxy, moat_yaml=course / "moat.yaml")
    finally:
        for name in made:
            uid = pwd.getpwnam(name).pw_uid
            _await_end_of_processes(uid)
            _run("userdel", name)
            for run in (f"/tmp/moat-nb-{uid}", f"/run/moat-nb-hub/{uid}"):
                shutil.rmtree(run, ignore_errors=True)
            for left in Path("/tmp").glob("moat-nb-hub-*"):  # of servers that were killed
                if left.lstat().st_uid == uid:
                    shutil.rmtree(left, ignore_errors=True)
        with contextlib.suppress(OSError):  # another hub's students may be in there
            Path("/run/moat-nb-hub").rmdir()
        shutil.rmtree(directory, ignore_errors=True)


def _add(name: str, homes: Path) -> None:
    with contextlib.suppress(KeyError):  # of a run that was killed
        if pwd.getpwnam(name).pw_dir.startswith("/var/tmp/moat-nb-hub-"):
            _run("userdel", name)
    _run("useradd", "--create-home", "--base-dir", str(homes), "--shell", "/bin/sh", name)
    # As on many machines of a class: what keeps a home from others here is the sandbox alone.
    (homes / name).chmod(0o755)


def _await_end_of_processes(uid: int) -> None:
    """Those of a server end a moment after their hub. AssertionError: they did not."""
    give_up = time.monotonic() + END_SECONDS
    while found := _processes(uid):
        assert time.monotonic() < give_up, f"of {uid}, after the end: {found}"
        time.sleep(0.1)


def _processes(uid: int) -> dict[int, str]:
    """The ids of a user's processes, and what each was started as."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if entry.stat().st_uid == uid:
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    return found


def _proxy(directory: Path) -> Path:
    """From npm."""
    directory.mkdir()
    _run(
        *("npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(directory)),
        "configurable-http-proxy@5",
    )
    return directory / "node_modules/.bin/configurable-http-proxy"


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"


def moat_config(moat_yaml: Path, more: str = "") -> str:
    """A hub's configuration, as docs/hub.md has it."""
    return (
        f'c.JupyterHub.spawner_class = "moat"\nc.MoatSpawner.moat_yaml = {str(moat_yaml)!r}\n{more}'
    )


ORDINARY = f"""\
c.JupyterHub.spawner_class = "localprocess"
c.Spawner.cmd = [{sys.executable!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.notebook_dir = "~/work"
c.Spawner.args = ["--ContentsManager.allow_hidden=True"]
"""
"""A hub as JupyterHub has it by itself: the control."""
