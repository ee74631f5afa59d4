"""What kernels write to their own stdout and stderr: a bounded file, and the last of it at hand."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

__all__ = ["BoundedLog"]

FILE_LIMIT = 10 << 20
"""Bytes; at the limit the file ``log`` becomes ``log.1`` and a new one begins, so two at most."""
TAIL = 8 << 10


class BoundedLog:
    """Thread-safe; a kernel that floods it costs 20 MiB of disk and no more.

    What does not fit on a full disk is missing from the file: no kernel ends for its log's sake.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file = path.open("wb", buffering=0)
        self._tail = bytearray()

    def write(self, data: bytes) -> None:
        with self._lock:
            self._tail += data
            del self._tail[:-TAIL]
            if self._file.closed:
                return
            with contextlib.suppress(OSError):
                if self._file.tell() + len(data) > FILE_LIMIT:
                    self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                    self._file.close()
                    self._file = self._path.open("wb", buffering=0)
                self._file.write(data)

    def tail(self) -> str:
        """The last 8 KiB, as text."""
        with self._lock:
            return bytes(self._tail).decode(errors="replace")

    def close(self) -> None:
        with self._lock:
            self._file.close()
