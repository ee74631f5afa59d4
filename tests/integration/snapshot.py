"""A directory as it is, byte for byte, to be compared with itself later."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

Entry = tuple[str, str, int, int, int, str]


def snapshot(directory: Path) -> list[Entry]:
    """``(path, mode, uid, gid, mtime in ns, digest or link's text)`` of all below and itself."""
    return sorted(_entries(directory))


def _entries(directory: Path) -> Iterator[Entry]:
    for path in (directory, *directory.rglob("*")):
        status = path.lstat()
        content = ""
        if stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        name = os.path.relpath(path, directory)
        mode = stat.filemode(status.st_mode)
        yield name, mode, status.st_uid, status.st_gid, status.st_mtime_ns, content
