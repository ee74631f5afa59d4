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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from moat_nb.host.cgroups import CONTROLLERS, Cgroup, Place
from moat_nb.host.machine import User

__all__ = ["UserCgroup"]

LEAF = "server"
"""Of version 2: where the user's first process is, as a cgroup that has processes hands no
controllers on."""
HANDED_ON = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks")
"""What the user may write beside the directory itself. The limits are not among them."""
END_SECONDS = 10.0


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
        below = LEAF if self.cgroup.version == 2 else ""
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
                (path / LEAF).mkdir()
                _hand_on(path / LEAF, user)
            _hand_on(path, user)

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
                for path in _deepest_first(top):
                    _kill(path)
                    with contextlib.suppress(OSError):  # what was killed may still be there
                        path.rmdir()
                if Path(top).is_dir():
                    if time.monotonic() > give_up:
                        raise OSError(f"{top}: processes in there do not end")
                    time.sleep(0.02)

    @property
    def processes(self) -> tuple[int, ...]:
        """Those in there, of all cgroups below it."""
        found = {pid for path in _deepest_first(self._directories[0]) for pid in _pids(path)}
        return tuple(sorted(found))


def _hand_on(path: Path, user: User) -> None:
    os.chown(path, user.uid, user.gid)
    for name in HANDED_ON:
        with contextlib.suppress(FileNotFoundError):  # each version has its own
            os.chown(path / name, user.uid, user.gid)


def _deepest_first(top: str) -> Iterator[Path]:
    for directory, _, _ in os.walk(top, topdown=False):
        yield Path(directory)


def _pids(path: Path) -> list[int]:
    # 0 is a process of another pid namespace, which this one can neither name nor kill.
    with contextlib.suppress(OSError):
        return [pid for pid in map(int, (path / "cgroup.procs").read_text().split()) if pid]
    return []


def _kill(path: Path) -> None:
    for pid in _pids(path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
