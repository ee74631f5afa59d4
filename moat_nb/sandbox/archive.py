"""A tree as a tar, and a tar that somebody else made as a tree."""

from __future__ import annotations

import errno
import io
import itertools
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from moat_nb.errors import MoatError
from moat_nb.host.machine import User
from moat_nb.sandbox.comparison import MAX_ENTRIES
from moat_nb.sandbox.tree import PIECE, RESERVE, Entry, Tree

__all__ = ["pack", "unpack"]

LONGEST_PATH = 4096
LONGEST_HEADER = 64 << 10
"""Bytes of what stands before a member: its name, where a link leads, its times."""
EXTENDING = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
MAX_PATHS = 64 << 20
"""Characters of all paths: so many are held in memory."""


def pack(
    tree: Tree, entries: Mapping[str, Entry], top: str, owner: User, sent: Callable[[], object]
) -> Iterator[bytes]:
    """The tar of ``entries`` of ``tree``, all of them ``owner``'s and below a directory ``top``;
    ``sent`` is called after each. Raises OSError for a file that is shorter than it was."""
    yield _header(top, Entry(kind="directory", mode=0o755), owner)
    for path in sorted(entries):  # directories before what is in them
        entry = entries[path]
        if entry.kind == "special":
            continue
        yield _header(f"{top}/{path}", entry, owner)
        if entry.kind == "file":
            yield from _content(tree, path, entry.size)
        sent()
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(name: str, entry: Entry, owner: User) -> bytes:
    member = tarfile.TarInfo(name)
    member.uid, member.gid = owner.uid, owner.gid
    member.mtime = entry.modified // 10**9  # a fraction takes a header of its own
    member.mode = 0o755 if entry.kind == "directory" or entry.executable else 0o644
    if entry.kind == "directory":
        member.type = tarfile.DIRTYPE
    elif entry.kind == "link":
        member.type, member.linkname = tarfile.SYMTYPE, entry.target
    else:
        member.size = entry.size
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _content(tree: Tree, path: str, size: int) -> Iterator[bytes]:
    with tree.reading(path) as descriptor:
        left = size
        while left and (piece := os.read(descriptor, min(PIECE, left))):
            left -= len(piece)
            yield piece
    if left:
        raise OSError(f"{path} has become shorter")
    yield bytes(-size % tarfile.BLOCKSIZE)


def unpack(archive: Iterable[bytes], top: str, into: Path) -> dict[str, str]:
    """What a tar has below a directory ``top``, into the empty directory ``into``, which nobody
    else can reach: files, directories and links as they are. Nothing is made below a link, or
    twice. Returns the paths that could not be made, and why. Raises MoatError for what is no whole
    tar, or too much."""
    unpacking = _Unpacking(into)
    reader = _Reader(archive)
    try:
        with tarfile.open(
            fileobj=reader,
            mode="r|",
            encoding="utf-8",
            errors="surrogateescape",
            tarinfo=_Member,
        ) as tar:
            for count, member in enumerate(tar):
                tar.members.clear()  # type: ignore[attr-defined] # which would hold all of them
                if count > MAX_ENTRIES:
                    raise MoatError("there are more files than can be looked at")
                if (path := _path(member.name, top)) is not None:
                    unpacking.make(tar, member, path, _path(member.linkname, top))
    except (tarfile.TarError, ValueError, EOFError, RecursionError) as error:
        raise MoatError(f"what came is no tar: {error}") from error
    if not reader.is_whole():
        raise MoatError("what came is no tar: its end is missing")
    return unpacking.failed


class _Member(tarfile.TarInfo):
    """tarfile holds a header that names another one whole in memory, however long it says it is."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in EXTENDING and self.size > LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return]


class _Unpacking:
    def __init__(self, into: Path) -> None:
        self.failed: dict[str, str] = {}
        self._into = into
        self._left = MAX_PATHS
        self._directories, self._files = {""}, set[str]()

    def make(
        self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, linked: str | None
    ) -> None:
        if (left := self._left - len(path)) < 0:
            raise MoatError("there are more files than can be looked at")
        self._left = left
        above = path.rpartition("/")[0]
        if above in self.failed:
            self.failed[path] = self.failed[above]
        if above not in self._directories:
            return
        place = self._into / path
        try:
            if os.path.lexists(place):
                return
            if member.isdir():
                place.mkdir(mode=0o700)
                self._directories.add(path)
            elif member.issym():
                place.symlink_to(member.linkname)
            elif member.islnk() and linked in self._files:
                os.link(self._into / str(linked), place, follow_symlinks=False)
                self._files.add(path)
            elif member.isreg():
                _write(tar, member, place)
                self._files.add(path)
        except (OSError, OverflowError) as error:  # a path, or a time, that this system has not
            self.failed[path] = getattr(error, "strerror", None) or str(error)


def _path(name: str, top: str) -> str | None:
    """Below ``top``; None for what is not, and for what no file can be called."""
    head, _, path = name.rstrip("/").partition("/")
    parts = path.split("/")
    if head != top or len(os.fsencode(path)) > LONGEST_PATH or "\0" in path:
        return None
    return path if all(part not in ("", ".", "..") for part in parts) else None


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    room = os.statvfs(place.parent)
    if member.size > room.f_bavail * room.f_frsize - RESERVE:
        raise OSError(errno.ENOSPC, f"there is no room for its {member.size >> 20} MiB here")
    source = tar.extractfile(member)
    assert source is not None
    mode = 0o700 if member.mode & 0o100 else 0o600
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        while piece := source.read(PIECE):
            if any(piece):
                file.write(piece)
            else:
                file.seek(len(piece), os.SEEK_CUR)  # a hole, as it was there
        file.truncate()
        file.flush()
        os.utime(file.fileno(), (member.mtime, member.mtime))


class _Reader(io.RawIOBase):
    """A file of what comes in pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""
        self._end = b""

    def is_whole(self) -> bool:
        """Whether all ends as a tar does; what stands behind its end is passed over."""
        for piece in itertools.islice(self._pieces, MAX_ENTRIES):
            self._end = (self._end + piece)[-2 * tarfile.BLOCKSIZE :]
        return self._end == bytes(2 * tarfile.BLOCKSIZE)

    def read(self, size: int = -1) -> bytes:
        found = [self._rest]
        length = len(self._rest)
        while size < 0 or length < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._end = (self._end + piece[-2 * tarfile.BLOCKSIZE :])[-2 * tarfile.BLOCKSIZE :]
            found.append(piece)
            length += len(piece)
        whole = b"".join(found)
        size = length if size < 0 else size
        self._rest = whole[size:]
        return whole[:size]
