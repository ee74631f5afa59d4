"""A file that rotates at a size: for the kernels' output and the proxy's request log."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

__all__ = ["BoundedLog"]

LIMIT = 20 << 20
TAIL = 8 << 10


class BoundedLog:
    """At half of ``limit`` bytes the file becomes ``PATH.1`` and a new one begins. Thread-safe.

    An existing file is continued, never through a link. Only its owner may read it. What a full
    disk has no room for is dropped in silence. OSError where the file cannot be opened at first.
    """

    def __init__(self, path: Path, *, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit // 2
        self._lock = threading.Lock()
        self._fd: int | None = self._open()
        self._tail = bytearray()

    def write(self, data: bytes) -> None:
        """Write ``data`` whole into one of the two files; ``tail`` has it even on a full disk."""
        with self._lock:
            self._tail += data
            del self._tail[:-TAIL]
            if self._fd is None:
                return
            with contextlib.suppress(OSError):
                if os.fstat(self._fd).st_size + len(data) > self._limit:
                    self._fd = self._begin_anew(self._fd)
                os.write(self._fd, data)

    def tail(self) -> str:
        """The last 8 KiB, as text."""
        with self._lock:
            return bytes(self._tail).decode(errors="replace")

    def close(self) -> None:
        """Close the file; later writes reach the tail alone."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _begin_anew(self, full: int) -> int:
        # The file is missing if it could not be opened the last time.
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        new = self._open()
        os.close(full)
        return new

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._path, flags, 0o600)
