"""By what a file or directory is known once it was moved, and not taken for one that came later."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

__all__ = ["Identity", "identity", "is_still"]

AT_FDCWD, STATX_BTIME = -100, 0x800
SIZE, BORN = 256, 80
"""Bytes of Linux's struct statx, and where its time of birth is (statx(2))."""


class Identity(NamedTuple):
    device: int
    inode: int
    born: int
    """Nanoseconds since 1970: an inode's number is given again once it is free."""


def identity(path: str) -> Identity | None:
    """None where there is none, and where the filesystem does not say when it was made."""
    try:
        status = os.stat(path)  # noqa: PTH116 - beside statx
    except OSError:
        return None
    if sys.platform == "linux":
        born = _born(os.fsencode(path))
    else:
        born = int(getattr(status, "st_birthtime", 0) * 1e9)
    return Identity(status.st_dev, status.st_ino, born) if born else None


def is_still(path: str, known: Identity | None) -> bool:
    """Whether it most likely is what was there before: without the time of its birth."""
    try:
        status = os.stat(path)  # noqa: PTH116 - at each start
    except OSError:
        return False
    return known is not None and (status.st_dev, status.st_ino) == known[:2]


def _born(path: bytes) -> int:
    """0 where it is not known. Python's own os.stat() does not tell on Linux."""
    import ctypes

    statx = getattr(ctypes.CDLL(None), "statx", None)
    buffer = ctypes.create_string_buffer(SIZE)
    if statx is None or statx(AT_FDCWD, path, 0, STATX_BTIME, buffer) != 0:
        return 0
    if not int.from_bytes(buffer.raw[:4], sys.byteorder) & STATX_BTIME:
        return 0
    seconds = int.from_bytes(buffer.raw[BORN : BORN + 8], sys.byteorder, signed=True)
    return seconds * 10**9 + int.from_bytes(buffer.raw[BORN + 8 : BORN + 12], sys.byteorder)
