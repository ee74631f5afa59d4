"""A directory tree, and a path of one brought into another.

A sandbox may write to either, also meanwhile: no link is followed, each directory is opened from
its parent, and what is brought is what was looked at before, or nothing.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moat_nb.host.machine import User
from moat_nb.planning.walk import Budget, Over, open_directory, parent_of, walk

__all__ = ["PIECE", "RESERVE", "TEMPORARY", "Entry", "Kind", "Tree", "same_content"]

PIECE = 1 << 20

MAX_PATHS = 256 << 20
"""Characters of all paths of a tree: so many are held in memory."""

RESERVE = 256 << 20
"""Bytes that stay free on the disk that is written to."""

TEMPORARY = re.compile(r"\.moat-[0-9a-f]{16}")
"""The names of files that are being written."""

Kind = Literal["file", "directory", "link", "special"]

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What stands at a path; sizes in bytes, times in nanoseconds since 1970."""

    kind: Kind
    mode: int = 0
    """As ``st_mode``."""
    size: int = 0
    modified: int = 0
    changed: int = 0
    """The ctime, which a sandbox cannot set."""
    inode: int = 0
    target: str = ""
    """Of a link."""

    @classmethod
    def of(cls, status: os.stat_result) -> Entry:
        if stat.S_ISDIR(status.st_mode):
            return cls(kind="directory", mode=status.st_mode)
        return cls(
            kind="file" if stat.S_ISREG(status.st_mode) else "special",
            mode=status.st_mode,
            size=status.st_size,
            modified=status.st_mtime_ns,
            changed=status.st_ctime_ns,
            inode=status.st_ino,
        )

    @classmethod
    def at(cls, name: str, parent: int) -> Entry | None:
        """What is there in the directory that is open as ``parent``; None where nothing is. Raises
        OSError where that cannot be told."""
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(name, dir_fd=parent)
                return cls(kind="link", mode=status.st_mode, target=target)
        except FileNotFoundError:
            return None
        return cls.of(status)

    @property
    def executable(self) -> bool:
        return self.kind == "file" and bool(self.mode & stat.S_IXUSR)


class Tree:
    """A context manager, which holds the tree's top open. All paths are relative to it, and methods
    raise OSError. ``owner`` gets what is made, where the process may give it; ``mask`` are the
    permissions that a new file has not."""

    def __init__(self, top: Path, owner: User | None = None, mask: int = 0o022) -> None:
        self.top = top
        self.closed: set[str] = set()
        """Of which :meth:`entries` could tell nothing, as they cannot be read, or are another file
        system's."""
        self._owner = owner if os.geteuid() == 0 else None
        self._mask = mask
        self._descriptor = -1

    def __enter__(self) -> Tree:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self.top, flags)
        return self

    def __exit__(self, *how: object) -> None:
        os.close(self._descriptor)

    # -------- what is there

    def parent(self, path: str) -> AbstractContextManager[tuple[int, str]]:
        """The open directory in which ``path`` stands, and its name there."""
        return parent_of(self._descriptor, path)

    def entry(self, path: str) -> Entry | None:
        with suppress(FileNotFoundError, NotADirectoryError), self.parent(path) as (parent, name):
            return Entry.at(name, parent)
        return None

    def entries(
        self, skipped: Callable[[str], bool], budget: Budget
    ) -> Iterator[tuple[str, Entry, bool]]:
        """Each path, its parents before it, and whether it is ``skipped`` with all below it. Raises
        Over."""
        device, left = os.fstat(self._descriptor).st_dev, MAX_PATHS
        outside: set[str] = set()
        self.closed = set()
        for path, found, parent in walk(self._descriptor, budget, lambda path: path not in outside):
            if (left := left - len(path)) < 0:
                raise Over
            try:
                entry = Entry.at(found.name, parent)
            except OSError:
                self.closed.add(path)
                continue
            if entry is None:
                continue
            if skip := skipped(path):
                outside.add(path)
            elif entry.kind == "directory" and not _opens(found.name, parent, device):
                outside.add(path)
                self.closed.add(path)
            yield path, entry, skip
        if budget.over:
            raise Over

    @contextmanager
    def reading(self, path: str) -> Iterator[int]:
        """The file there, open."""
        with self.parent(path) as (parent, name):
            descriptor = os.open(name, READ, dir_fd=parent)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("it is no file any more")
            yield descriptor
        finally:
            os.close(descriptor)

    # -------- what is made

    def bring(
        self, path: str, source: Tree, wanted: Entry | None, here: Entry | None
    ) -> Entry | None:
        """Have what ``source`` has at ``path``, which was seen to be ``wanted``, in place of what
        was seen ``here``; returns what is here now. Where either is another by now, nothing is
        done and OSError raised."""
        if wanted is not None and wanted.kind == "special":
            raise OSError("it is neither a file, a directory nor a link")
        if path in source.closed:
            raise OSError("it cannot be read")
        if wanted is not None and here is not None and wanted.kind == here.kind == "directory":
            return here
        if wanted is None:
            _expect(source.entry(path), None)
            self._remove(path, here)
            return None
        if wanted.kind == "file":
            with source.reading(path) as descriptor:
                _expect(Entry.of(os.fstat(descriptor)), wanted)
                return self._write(path, descriptor, wanted, here)
        _expect(source.entry(path), wanted)
        self._remove(path, here)
        return self._make(path, wanted)

    def remove(self, path: str) -> None:
        """What is there, if anything is; a directory only if it is empty."""
        self._remove(path, self.entry(path))

    def make_empty(self, path: str, kind: Kind) -> Entry | None:
        """An empty directory or file, where nothing is yet; None where something is."""
        return self._make(path, Entry(kind=kind)) if self.entry(path) is None else None

    def _make(self, path: str, entry: Entry) -> Entry | None:
        with self._made(path) as (parent, name):
            if entry.kind == "directory":
                os.mkdir(name, dir_fd=parent)
            elif entry.kind == "link":
                os.symlink(entry.target, name, dir_fd=parent)
            else:
                os.close(os.open(name, MAKE, 0o666 & ~self._mask, dir_fd=parent))
            self._give(name, parent)
            return Entry.at(name, parent)

    @contextmanager
    def _made(self, path: str) -> Iterator[tuple[int, str]]:
        """As :meth:`parent`, and the directories on the way are made."""
        *above, _ = path.split("/")
        for length in range(1, len(above) + 1):
            with self.parent("/".join(above[:length])) as (parent, name), suppress(FileExistsError):
                os.mkdir(name, dir_fd=parent)
                self._give(name, parent)
        with self.parent(path) as found:
            yield found

    def _remove(self, path: str, seen: Entry | None) -> None:
        """What was ``seen`` there; what has come since is somebody's."""
        _expect(self.entry(path), seen)
        if seen is None:
            return
        with self.parent(path) as (parent, name):
            if seen.kind == "directory":
                os.rmdir(name, dir_fd=parent)
            else:
                os.unlink(name, dir_fd=parent)

    def _write(self, path: str, source: int, wanted: Entry, here: Entry | None) -> Entry:
        """Replace the file at once by what ``source`` reads, at most as much as it had."""
        if here is not None and here.kind != "file":
            self._remove(path, here)
            here = None
        with self._made(path) as (parent, name):
            room = os.fstatvfs(parent)
            if os.fstat(source).st_blocks * 512 > room.f_bavail * room.f_frsize - RESERVE:
                raise OSError("there is no room for it")
            before = None if here is None else os.stat(name, dir_fd=parent, follow_symlinks=False)
            temporary = f".moat-{secrets.token_hex(8)}"
            with os.fdopen(os.open(temporary, MAKE, 0o600, dir_fd=parent), "wb", 0) as file:
                try:
                    _copy(source, file.fileno(), wanted.size)
                    os.fchmod(file.fileno(), self._mode(before, wanted))
                    self._give(temporary, parent, before)
                    os.utime(file.fileno(), ns=(wanted.modified, wanted.modified))
                    _expect(Entry.of(os.fstat(source)), wanted)
                    _expect(Entry.at(name, parent), here)
                    os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
                except BaseException:
                    os.unlink(temporary, dir_fd=parent)
                    raise
                return Entry.of(os.fstat(file.fileno()))

    def _mode(self, before: os.stat_result | None, now: Entry) -> int:
        """As the file was here, but as executable as ``now`` is; never setuid."""
        mode = 0o666 & ~self._mask if before is None else before.st_mode & 0o777
        return mode | (mode >> 2 & 0o111) if now.executable else mode & ~0o111

    def _give(self, name: str, parent: int, before: os.stat_result | None = None) -> None:
        if self._owner is not None:
            uid, gid = self._owner.uid, self._owner.gid
            if before is not None:
                uid, gid = before.st_uid, before.st_gid
            os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)


def _expect(found: Entry | None, seen: Entry | None) -> None:
    if found != seen:
        raise OSError("it has changed meanwhile")


def _copy(source: int, into: int, size: int) -> None:
    """``size`` bytes at most. A hole stays one: a file may have any size without a block."""
    at = 0
    while (at := _data_from(source, at)) < size:
        rest = memoryview(os.pread(source, min(PIECE, size - at), at))
        if not rest:
            break
        while rest:
            written = os.pwrite(into, rest, at)
            at, rest = at + written, rest[written:]
    os.ftruncate(into, size)


def _data_from(descriptor: int, at: int) -> int:
    """Where the next data of a file is; beyond its end where there is none."""
    if not hasattr(os, "SEEK_DATA"):
        return at
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return sys.maxsize
        return at  # a file system that knows no holes


def _opens(name: str, parent: int, device: int) -> bool:
    try:
        descriptor = open_directory(name, parent)
    except OSError:
        return False
    try:
        # What is not searchable opens, and none of its entries can be looked at.
        searchable = os.access(".", os.X_OK, dir_fd=descriptor, effective_ids=True)
        return searchable and os.fstat(descriptor).st_dev == device
    finally:
        os.close(descriptor)


def same_content(path: str, one: Tree, other: Tree, until: float) -> bool:
    """Whether both have a file there with the same bytes. Raises Over at ``until``, by the
    monotonic clock."""
    with suppress(OSError), one.reading(path) as first, other.reading(path) as second:
        size = os.fstat(first).st_size
        if size != os.fstat(second).st_size:
            return False
        at = 0
        while at < size:
            if time.monotonic() > until:
                raise Over
            at = min(_data_from(first, at), _data_from(second, at))
            if at >= size:
                break
            piece = os.pread(first, min(PIECE, size - at), at)
            if not piece or piece != os.pread(second, len(piece), at):
                return False
            at += len(piece)
        return True
    return False
