"""A walk through a directory that a sandbox may write to while it is walked.

It is bounded in entries, seconds and depth, follows no link, and stays on one file system.
Directories are opened relative to their parents, so that nothing can be put in the way between
the look at a name and the step into it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from moat_nb.planning.host_files import Kind

__all__ = [
    "Budget",
    "NoKind",
    "Over",
    "is_there",
    "kind_below",
    "kind_of_entry",
    "open_directory",
    "parent_of",
    "walk",
]

NoKind: TypeAlias = Literal["symbolic link", "special file"]
"""What is there and no exclude can cover."""

MAX_ENTRIES = 500_000
"""Directory entries in one scan; a large node_modules has 100,000."""

MAX_SECONDS = 20.0
"""For one scan; a warm disk gives some 200,000 entries a second."""

MAX_DEPTH = 64
"""Levels below a mount's source; each costs one open file."""


class Over(Exception):
    """The budget is spent, or the scan was cancelled."""


@dataclass
class Budget:
    """The limits of a scan; ``over`` says whether it reached one."""

    entries: int = MAX_ENTRIES
    seconds: float = MAX_SECONDS
    cancelled: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    over: bool = False
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        self._end = self.clock() + self.seconds

    def spend(self) -> None:
        self.entries -= 1
        if self.entries < 0 or self.clock() > self._end or self.cancelled():
            self.over = True
            raise Over


@dataclass(frozen=True, kw_only=True)
class _Level:
    """A directory that is being walked."""

    prefix: str
    directory: int
    entries: Any
    """An iterator of :func:`os.scandir`, whose type has no public name."""

    @classmethod
    def open(cls, prefix: str, directory: int) -> _Level | None:
        """Takes ``directory`` over; None where it cannot be read."""
        try:
            return cls(prefix=prefix, directory=directory, entries=os.scandir(directory))
        except OSError:
            os.close(directory)
            return None

    def close(self) -> None:
        self.entries.close()
        os.close(self.directory)


def walk(
    top: int, budget: Budget, descend: Callable[[str], bool]
) -> Iterator[tuple[str, os.DirEntry[str], int]]:
    """Each entry below the directory ``top``: its path, itself, and its directory's descriptor.

    A directory for which ``descend`` says so, asked after it was yielded, is gone into when it is
    on the same file system.
    """
    device = os.fstat(top).st_dev
    first = _Level.open("", os.dup(top))
    levels = [first] if first else []
    try:
        while levels:
            level = levels[-1]
            entry = _next(level.entries)
            if entry is None:
                levels.pop().close()
                continue
            budget.spend()
            path = level.prefix + entry.name
            yield path, entry, level.directory
            if descend(path) and kind_of_entry(entry) == "directory":
                if len(levels) == MAX_DEPTH:
                    budget.over = True
                elif below := _below(entry.name, level, device):
                    levels.append(below)
    finally:
        for level in levels:
            level.close()


def _next(entries: Iterator[os.DirEntry[str]]) -> os.DirEntry[str] | None:
    try:
        return next(entries, None)
    except OSError:
        return None


def _below(name: str, level: _Level, device: int) -> _Level | None:
    try:
        directory = open_directory(name, level.directory)
    except OSError:
        return None
    if os.fstat(directory).st_dev != device:
        os.close(directory)
        return None
    return _Level.open(f"{level.prefix}{name}/", directory)


def open_directory(name: str, parent: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)


@contextmanager
def parent_of(top: int, path: str) -> Iterator[tuple[int, str]]:
    """The open directory that ``path`` stands in, and its name there; OSError if there is none."""
    *above, name = path.split("/")
    directory = os.dup(top)
    try:
        for part in above:
            inner = open_directory(part, directory)
            os.close(directory)
            directory = inner
        yield directory, name
    finally:
        os.close(directory)


def kind_of_entry(entry: os.DirEntry[str]) -> Kind | None:
    try:
        if entry.is_dir(follow_symlinks=False):
            return "directory"
        return "file" if entry.is_file(follow_symlinks=False) else None
    except OSError:
        return None


def kind_below(top: int, path: str) -> Kind | NoKind | None:
    """What is at ``path``; a symbolic link also where one stands on the way to it."""
    parts = path.split("/")
    for length in range(1, len(parts) + 1):
        mode = 0
        with suppress(OSError), parent_of(top, "/".join(parts[:length])) as (parent, name):
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            return "symbolic link"
    if not mode:
        return None
    return "directory" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "special file"


def is_there(name: str, directory: int) -> bool:
    with suppress(OSError):
        os.stat(name, dir_fd=directory, follow_symlinks=False)
        return True
    return False
