"""A directory tree, and a path of one brought into another.

A sandbox may write to either, also meanwhile: no link is followed, each directory is opened from
its parent, and what is read is what was opened.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moat_nb.host.machine import User
from moat_nb.planning.walk import Budget, Over, open_directory, parent_of, walk

__all__ = ["Entry", "Kind", "Tree", "same_content"]

PIECE = 1 << 20

Kind = Literal["file", "directory", "link", "special"]

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What stands at a path; ``size`` in bytes, times in nanoseconds since 1970."""

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
    def at(cls, name: str, parent: int) -> Entry | None:
        """What is there in the directory that is open as ``parent``."""
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(name, dir_fd=parent)
                return cls(kind="link", mode=status.st_mode, target=target)
        except OSError:
            return None
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

    @property
    def executable(self) -> bool:
        return self.kind == "file" and bool(self.mode & stat.S_IXUSR)


class Tree:
    """A context manager, which holds the tree's top open. All paths are relative to it. ``owner``
    gets what is made, where the process may give it. Methods raise OSError."""

    def __init__(self, top: Path, owner: User | None = None) -> None:
        self.top = top
        self.closed: set[str] = set()
        """Directories of which :meth:`entries` could tell nothing, as they cannot be read, or are
        another file system's."""
        self._owner = owner if os.geteuid() == 0 else None
        self._descriptor = -1

    def __enter__(self) -> Tree:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self.top, flags)
        return self

    def __exit__(self, *how: object) -> None:
        os.close(self._descriptor)

    def parent(self, path: str) -> AbstractContextManager[tuple[int, str]]:
        """The open directory in which ``path`` stands, and its name there."""
        return parent_of(self._descriptor, path)

    def entry(self, path: str) -> Entry | None:
        with suppress(OSError), self.parent(path) as (parent, name):
            return Entry.at(name, parent)
        return None

    def entries(
        self, skipped: Callable[[str], bool], budget: Budget
    ) -> Iterator[tuple[str, Entry, bool]]:
        """Each path, its parents before it, and whether it is ``skipped`` with all below it. Raises
        Over."""
        device = os.fstat(self._descriptor).st_dev
        left: set[str] = set()
        self.closed = set()
        for path, found, parent in walk(self._descriptor, budget, lambda path: path not in left):
            entry = Entry.at(found.name, parent)
            if entry is None:
                continue
            if skip := skipped(path):
                left.add(path)
            elif entry.kind == "directory" and not _opens(found.name, parent, device):
                left.add(path)
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

    def bring(self, path: str, source: Tree) -> None:
        """Have here what ``source`` has at ``path``, or nothing where it has nothing."""
        entry, here = source.entry(path), self.entry(path)
        if entry is not None and entry.kind == "special":
            raise OSError("it is neither a file, a directory nor a link")
        stays = here is not None and entry is not None and here.kind == entry.kind
        if stays and here is not None and here.kind == "directory":
            return
        if here is not None and not (stays and here.kind == "file"):  # which is replaced at once
            self._remove(path, here)
        if entry is None:
            return
        if entry.kind == "file":
            with source.reading(path) as descriptor, self._made(path) as (parent, name):
                self._write(name, parent, descriptor, entry)
        else:
            self._make(path, entry)

    def remove(self, path: str) -> None:
        """What is there, if anything is; a directory only if it is empty."""
        if (entry := self.entry(path)) is not None:
            self._remove(path, entry)

    def make_empty(self, path: str, kind: Kind) -> None:
        """An empty directory or file, where nothing is yet."""
        if self.entry(path) is None:
            self._make(path, Entry(kind=kind))

    def _make(self, path: str, entry: Entry) -> None:
        with self._made(path) as (parent, name):
            if entry.kind == "directory":
                os.mkdir(name, dir_fd=parent)
            elif entry.kind == "link":
                os.symlink(entry.target, name, dir_fd=parent)
            else:
                os.close(os.open(name, MAKE, 0o644, dir_fd=parent))
            self._give(name, parent)

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

    def _remove(self, path: str, entry: Entry) -> None:
        with self.parent(path) as (parent, name):
            if entry.kind == "directory":
                os.rmdir(name, dir_fd=parent)
            else:
                os.unlink(name, dir_fd=parent)

    def _write(self, name: str, parent: int, source: int, entry: Entry) -> None:
        """Replace the file at once by what ``source`` reads, at most as much as it had."""
        room = os.fstatvfs(parent)
        if entry.size > room.f_bavail * room.f_frsize:
            raise OSError("there is no room for it")
        temporary = f".moat-{secrets.token_hex(8)}"
        with os.fdopen(os.open(temporary, MAKE, 0o600, dir_fd=parent), "wb", 0) as file:
            try:
                left = entry.size
                while left > 0 and (piece := os.read(source, min(PIECE, left))):
                    left -= len(piece)
                    while piece:
                        piece = piece[file.write(piece) or 0 :]
                os.fchmod(file.fileno(), _mode(Entry.at(name, parent), entry))
                self._give(temporary, parent)
                os.utime(file.fileno(), ns=(entry.modified, entry.modified))
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                os.unlink(temporary, dir_fd=parent)
                raise

    def _give(self, name: str, parent: int) -> None:
        if self._owner is not None:
            uid, gid = self._owner.uid, self._owner.gid
            os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)


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


def _mode(before: Entry | None, now: Entry) -> int:
    """As the file was here, but as executable as ``now`` is; never setuid."""
    mode = 0o644 if before is None else before.mode & 0o777
    return mode | (mode >> 2 & 0o111) if now.executable else mode & ~0o111


def same_content(path: str, one: Tree, other: Tree) -> bool:
    """Whether both have a file there with the same bytes."""
    with suppress(OSError), one.reading(path) as first, other.reading(path) as second:
        left = os.fstat(first).st_size
        if left != os.fstat(second).st_size:
            return False
        while left > 0:
            piece = os.read(first, min(PIECE, left))
            if not piece or piece != os.read(second, len(piece)):
                return False
            left -= len(piece)
        return True
    return False
