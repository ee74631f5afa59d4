"""Cgroups that this process may make: where, with which limits, and their end. Linux alone.

One lies below this process's own cgroup, so that whatever limits hold for that one hold for it too.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from moat_nb.guest.mountinfo import mount_table
from moat_nb.host.cleanup import remove_cgroup

__all__ = [
    "PREFIX",
    "Cgroup",
    "Place",
    "cgroup_of",
    "delegated_place",
    "find_place",
    "remove_named",
]

PREFIX = "moat-nb-"
"""What the name of each of ours begins with; a sandbox's id follows."""

CONTROLLERS = ("memory", "pids", "cpu")
SWAP = ("memory.swap.max", "memory.swappiness", "memory.memsw.limit_in_bytes")
PERIOD = 100_000
"""Microseconds in which a cgroup may use its share of the CPUs."""
SMALLEST_QUOTA = 1000
"""Microseconds; the kernel refuses less."""

LEAF = "moat-nb-hub"
"""Where a process moves to, with those beside it, for others to be made next to it."""
HAND_ON_TRIES = 5

Version: TypeAlias = Literal[1, 2]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where cgroups can be made."""

    version: Version
    parents: tuple[tuple[str, str], ...]
    """The directory to make one in, by controller: ``memory`` always, ``pids`` and ``cpu`` where
    they are to be had. Of version 2 all are one."""

    def limits(self, controller: str) -> bool:
        return controller in dict(self.parents)

    def named(self, id: str) -> Cgroup:
        found = tuple((name, posixpath.join(at, PREFIX + id)) for name, at in self.parents)
        return Cgroup(version=self.version, by_controller=found)


@dataclass(frozen=True, kw_only=True)
class Cgroup:
    """One of a sandbox's, or to be one: a directory for each hierarchy."""

    version: Version
    by_controller: tuple[tuple[str, str], ...]

    @property
    def directories(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(path for _, path in self.by_controller))

    def make(self, *, memory: int, pids: int, cpus: float | None) -> None:
        """Make it with these limits. Raises OSError; who calls has told the reaper."""
        for path in self.directories:
            os.mkdir(path)  # noqa: PTH102 - text in, text out
        for controller, path in self.by_controller:
            for name, value in _files(self.version, controller, memory, pids, cpus):
                # Where swap is not accounted for, its files are missing, and nothing can make them.
                with contextlib.suppress(*((OSError,) if name in SWAP else ())):
                    Path(path, name).write_text(value)

    @property
    def memory_used(self) -> int | None:
        """Bytes, without what the kernel would give back at once; None when it is gone."""
        usage, reclaimable = {
            1: ("memory.usage_in_bytes", "total_inactive_file"),
            2: ("memory.current", "inactive_file"),
        }[self.version]
        try:
            used = int(self._memory(usage))
            amounts = dict(line.split() for line in self._memory("memory.stat").splitlines())
        except (OSError, ValueError):
            return None
        return max(0, used - int(amounts.get(reclaimable, 0)))

    @property
    def oom_kills(self) -> int:
        """How many of its processes the kernel has killed for memory."""
        name = {1: "memory.oom_control", 2: "memory.events"}[self.version]
        with contextlib.suppress(OSError, ValueError, KeyError):
            return int(dict(line.split() for line in self._memory(name).splitlines())["oom_kill"])
        return 0

    def _memory(self, name: str) -> str:
        return Path(dict(self.by_controller)["memory"], name).read_text()


def _files(
    version: Version, controller: str, memory: int, pids: int, cpus: float | None
) -> Iterator[tuple[str, str]]:
    """What is written where."""
    quota = None if cpus is None else str(max(SMALLEST_QUOTA, round(cpus * PERIOD)))
    if controller == "pids":
        yield "pids.max", str(pids)
    elif controller == "memory" and version == 2:
        yield "memory.max", str(memory)
        yield "memory.swap.max", "0"
    elif controller == "memory":
        yield "memory.limit_in_bytes", str(memory)
        yield "memory.swappiness", "0"
        yield "memory.memsw.limit_in_bytes", str(memory)
    elif quota is not None and version == 2:
        yield "cpu.max", f"{quota} {PERIOD}"
    elif quota is not None:
        yield "cpu.cfs_period_us", str(PERIOD)
        yield "cpu.cfs_quota_us", quota


def find_place(proc: Path = Path("/proc/self")) -> Place | None:
    """Where this process may make cgroups that limit memory; None where it may not."""
    own = _own(proc)
    hierarchies = list(_hierarchies(proc))
    first = {
        name: _below(at, own[name]) for names, at in hierarchies for name in names & own.keys()
    }
    usable = tuple((name, path) for name, path in first.items() if path and _may_make(path))
    if "memory" in dict(usable):
        return Place(version=1, parents=tuple(sorted(usable)))
    for names, at in hierarchies:
        if not names and "" in own:
            return _second(at, own[""])
    return None


def delegated_place(proc: Path = Path("/proc/self")) -> Place | None:
    """As :func:`find_place`, but first where systemd has delegated this process's cgroup to it
    (``Delegate=yes``): the process and those with it move into a leaf, so that others can be made
    there. Elsewhere in systemd's tree a cgroup of ours is one that it does not know of."""
    own = _own(proc)
    for names, at in _hierarchies(proc):
        here = _below(at, own[""]) if not names and "" in own else None
        for path in (here, posixpath.dirname(here)) if here else ():
            if _is_delegated(path):
                with contextlib.suppress(OSError):
                    _hand_on(path)
    return find_place(proc)


def _is_delegated(path: str) -> bool:
    for name in ("trusted.delegate", "user.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(path, name) == b"1":
                return True
    return False


def _hand_on(path: str) -> None:
    """Of version 2: give the controllers on, once no process is in there itself."""
    there = {*_read(f"{path}/cgroup.controllers").split()}
    leaf = Path(path, LEAF)
    for _ in range(HAND_ON_TRIES):
        if pids := _read(f"{path}/cgroup.procs").split():
            leaf.mkdir(exist_ok=True)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid)
        with contextlib.suppress(OSError):  # one was started meanwhile
            names = " ".join(f"+{name}" for name in CONTROLLERS if name in there)
            Path(path, "cgroup.subtree_control").write_text(names)
            return


def _second(at: tuple[str, str], own: str) -> Place | None:
    """Of version 2: a cgroup with processes in it has no limits to give to others, but the root."""
    here = _below(at, own)
    for path in (here, posixpath.dirname(here)) if here else ():
        enabled = _read(f"{path}/cgroup.subtree_control").split()
        if {"memory", "pids"} <= {*enabled} and _may_make(path):
            names = [name for name in CONTROLLERS if name in enabled]
            return Place(version=2, parents=tuple((name, path) for name in sorted(names)))
    return None


def _may_make(path: str) -> bool:
    # Who moves a process must be allowed to write where it comes from, too.
    return os.access(path, os.W_OK | os.X_OK) and os.access(f"{path}/cgroup.procs", os.W_OK)


def _own(proc: Path) -> dict[str, str]:
    """The path of a process's cgroup by controller; that of version 2 by the empty name."""
    found = {}
    for line in _read(str(proc / "cgroup")).splitlines():
        _, names, path = line.split(":", 2)
        found.update(dict.fromkeys(names.split(","), path))
    return {name: path for name, path in found.items() if name in ("", *CONTROLLERS)}


def _hierarchies(proc: Path) -> Iterator[tuple[set[str], tuple[str, str]]]:
    """The controllers of each that is mounted, none for version 2; its root, and where it is."""
    with contextlib.suppress(OSError):
        for point, mounted in mount_table(str(proc / "mountinfo")).items():
            names = mounted.filesystem & {*CONTROLLERS} if mounted.type == "cgroup" else set()
            if names or mounted.type == "cgroup2":
                yield names, (mounted.root, point)


def _below(at: tuple[str, str], path: str) -> str | None:
    """The directory of the cgroup ``path``; None where it is not in what is mounted."""
    root, point = at
    if path != root and not path.startswith(root.rstrip("/") + "/"):
        return None
    return posixpath.normpath(posixpath.join(point, posixpath.relpath(path, root)))


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def cgroup_of(pid: int) -> Cgroup | None:
    """That of a process, of whoever's making; None when its memory is not told."""
    proc = Path("/proc", str(pid))
    own, hierarchies = _own(proc), list(_hierarchies(Path("/proc/self")))
    version: Version
    for version, key in ((1, "memory"), (2, "")):
        for names, at in hierarchies:
            listed = key in names if key else not names
            path = _below(at, own[key]) if listed and key in own else None
            if path is not None and Path(path).is_dir():
                return Cgroup(version=version, by_controller=(("memory", path),))
    return None


def remove_named(ids: Iterable[str]) -> list[str]:
    """Remove the cgroups of these sandboxes, wherever they lie; returns which."""
    wanted = {PREFIX + id for id in ids}
    removed = []
    for point in {at[1] for _, at in _hierarchies(Path("/proc/self"))} if wanted else ():
        for directory, names, _ in os.walk(point):
            for name in wanted & {*names}:
                path = posixpath.join(directory, name)
                with contextlib.suppress(OSError):
                    remove_cgroup(path)
                    removed.append(path)
    return removed
