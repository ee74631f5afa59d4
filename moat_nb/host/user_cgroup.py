"""A cgroup that root makes for another user, whose own processes make cgroups below it.

A hub that runs as root starts each student's server in one: its limits hold for all that the
student has together, and the student's launcher finds a place where it can limit each sandbox.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from moat_nb.host.cgroups import CONTROLLERS, Cgroup, Place
from moat_nb.host.machine import User

__all__ = ["UserCgroup"]

FIRST = "server"
"""Of version 2: where the user's first process is, as a cgroup that has processes hands no
controllers on."""
HANDED_ON = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks")
"""What the user may write beside the directory itself. The limits are not among them."""
END_SECONDS = 10.0
BOUNDS = {"cgroup.max.depth": 10, "cgroup.max.descendants": 200}
"""Of version 2: what the user may make in there. The machine has 65,535 of them in all."""
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class UserCgroup:
    """At a place of this process's, for one user."""

    cgroup: Cgroup

    @classmethod
    def at(cls, place: Place, id: str) -> UserCgroup:
        return cls(cgroup=place.named(id))

    @property
    def joined(self) -> tuple[str, ...]:
        """The files that a process writes 0 to so that it is in there."""
        below = FIRST if self.cgroup.version == 2 else ""
        return tuple(posixpath.join(path, below, "cgroup.procs") for path in self._directories)

    @property
    def _directories(self) -> tuple[str, ...]:
        return self.cgroup.directories

    def make(self, user: User, *, memory: int, pids: int, cpus: float | None) -> None:
        """Make it with these limits and hand it to ``user``. Raises OSError; :meth:`end` removes
        what was made by then. One that is left of an earlier start is ended first."""
        self.end()
        self.cgroup.make(memory=memory, pids=pids, cpus=cpus)
        for path in map(Path, self._directories):
            if self.cgroup.version == 2:
                # The leaf comes last: controllers are handed on while nothing is in here.
                there = {*(path / "cgroup.controllers").read_text().split()}
                names = " ".join(f"+{name}" for name in CONTROLLERS if name in there)
                (path / "cgroup.subtree_control").write_text(names)
                for name, most in BOUNDS.items():
                    (path / name).write_text(str(most))
                (path / FIRST).mkdir()
                _give(path / FIRST, user)
            _give(path, user)

    def join(self) -> None:
        """Have this process in there. Called between fork and exec, so it imports nothing."""
        for path in self.joined:
            with open(path, "w") as stream:  # noqa: PTH123 - the least that can be done there
                stream.write("0")

    def end(self) -> None:
        """Kill what runs in there, and remove it; OSError where something does not end."""
        give_up = time.monotonic() + END_SECONDS
        for top in self._directories:
            while Path(top).is_dir():
                if Path(top, "cgroup.kill").exists():  # version 2's way to end all at once
                    Path(top, "cgroup.kill").write_text("1")
                _clear(top)
                with contextlib.suppress(OSError):  # what was killed may still be there
                    Path(top).rmdir()
                if Path(top).is_dir():
                    if time.monotonic() > give_up:
                        raise OSError(f"{top}: what is in there does not end")
                    time.sleep(0.02)


def _give(path: Path, user: User) -> None:
    os.chown(path, user.uid, user.gid)
    for name in HANDED_ON:
        with contextlib.suppress(FileNotFoundError):  # each version has its own
            os.chown(path / name, user.uid, user.gid)


def _clear(top: str) -> None:
    """Kill what is below, and remove what is empty then, the deepest first. One directory is open
    at a time: a user can nest them deeper than paths, or descriptors, reach."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as open_one:
        here = _entered(top, None, open_one)
        names, waiting = [top], [_below(here)]
        while len(names) > 1 or waiting[-1]:
            if waiting[-1]:
                name = waiting[-1].pop()
                here = _entered(name, here, open_one)
                names.append(name)
                waiting.append(_below(here))
            else:
                here = _entered("..", here, open_one)
                waiting.pop()
                with contextlib.suppress(OSError):
                    os.rmdir(names.pop(), dir_fd=here)


def _entered(name: str, of: int | None, open_one: contextlib.ExitStack) -> int:
    """The directory in place of the one that is open, with nothing running in it. Raises OSError
    where it is gone: whoever clears begins again."""
    directory = os.open(name, DIRECTORY, dir_fd=of)
    open_one.pop_all().close()
    open_one.callback(os.close, directory)
    _kill(directory)
    return directory


def _below(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def _pids(directory: int) -> list[int]:
    # 0 is a process of another pid namespace, which this one can neither name nor kill.
    with contextlib.suppress(OSError):
        file = os.open("cgroup.procs", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        with os.fdopen(file) as stream:
            return [pid for pid in map(int, stream.read().split()) if pid]
    return []


def _kill(directory: int) -> None:
    for pid in _pids(directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
