"""A tree as a tar, and a tar that somebody else made as a tree."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from moat_nb.errors import MoatError
from moat_nb.host.machine import User
from moat_nb.sandbox.tree import RESERVE, Entry, Tree

__all__ = ["pack", "unpack"]

PIECE = 1 << 20
MAX_MEMBERS = 2_000_000
LONGEST_PATH = 4096


def pack(
    tree: Tree, entries: Mapping[str, Entry], top: str, owner: User, sent: Callable[[], object]
) -> Iterator[bytes]:
    """The tar of ``entries`` of ``tree``, all of them ``owner``'s and below a directory ``top``;
    ``sent`` is called after each. Raises OSError for a file that has changed since."""
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
    member.mtime = entry.modified / 1e9
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


def unpack(archive: Iterable[bytes], top: str, into: Path) -> None:
    """What a tar has below a directory ``top``, into the empty directory ``into``, which nobody
    else can reach: files, directories and links as they are. Nothing is made below a link, or
    twice. Raises MoatError for what is no tar, or too much."""
    made = {""}
    files: set[str] = set()
    try:
        with tarfile.open(
            fileobj=_Reader(archive), mode="r|", encoding="utf-8", errors="surrogateescape"
        ) as tar:
            for count, member in enumerate(tar):
                if count > MAX_MEMBERS:
                    raise MoatError("there are more files than can be looked at")
                path = _path(member.name, top)
                if path is None or path.rpartition("/")[0] not in made:
                    continue
                place = into / path
                if os.path.lexists(place):
                    continue
                if member.isdir():
                    place.mkdir(mode=0o700)
                    made.add(path)
                elif member.issym():
                    place.symlink_to(member.linkname)
                elif member.islnk():
                    if (linked := _path(member.linkname, top)) in files:
                        os.link(into / linked, place, follow_symlinks=False)
                        files.add(path)
                elif member.isreg() and not member.issparse():
                    _write(tar, member, place)
                    files.add(path)
                tar.members.clear()  # type: ignore[attr-defined] # which would hold all of them
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise MoatError(f"what came is no tar: {error}") from error


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
        raise MoatError(f"there is no room for {member.name}, {member.size >> 20} MiB")
    source = tar.extractfile(member)
    assert source is not None
    mode = 0o700 if member.mode & 0o100 else 0o600
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(source, file, PIECE)
        file.flush()
        os.utime(file.fileno(), (member.mtime, member.mtime))


class _Reader(io.RawIOBase):
    """A file of what comes in pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        found = [self._rest]
        length = len(self._rest)
        while size < 0 or length < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            found.append(piece)
            length += len(piece)
        whole = b"".join(found)
        size = length if size < 0 else size
        self._rest = whole[size:]
        return whole[:size]
