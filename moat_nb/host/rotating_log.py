"""A file that rotates at a size: what kernels write, and what went through a proxy."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

__all__ = ["BoundedLog"]

LIMIT = 20 << 20
TAIL = 8 << 10


class BoundedLog:
    """Half of ``limit`` bytes, and then it becomes ``PATH.1`` and a new one begins. Thread-safe.

    A file that is there is continued, never through a link; it is its owner's alone. What does not
    fit on a full disk is missing from it: nobody ends for a log's sake. OSError where the file
    cannot be opened at first.
    """

    def __init__(self, path: Path, *, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit // 2
        self._lock = threading.Lock()
        self._fd: int | None = self._open()
        self._tail = bytearray()

    def write(self, data: bytes) -> None:
        """Whole into one of the two files, but for a disk that has no room; ``tail`` has it all."""
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
        """What is written later is in the tail alone."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _begin_anew(self, full: int) -> int:
        # Nothing is there where the new file could not be opened the last time.
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        new = self._open()
        os.close(full)
        return new

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._path, flags, 0o600)
