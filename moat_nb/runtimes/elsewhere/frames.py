"""Frames, in which the two ends talk: a length, and so many bytes.

Of a sandbox's stream they are, too. An empty one says to the other machine that the launcher lives,
and to the launcher that the sandbox has just lacked memory.

What is here asks by name with pickled arguments, and what is there runs our own program; what comes
back is JSON or bytes, and no part of it is believed to be short.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

__all__ = [
    "ENDED",
    "HEADER",
    "MARK",
    "MOST_BYTES",
    "PIECE",
    "SEND",
    "START",
    "Frames",
    "exactly",
    "framed",
    "pickled",
    "read_frame",
    "write",
]

HEADER = 4
"""Bytes of a length."""
MOST_BYTES = 64 << 20
"""Of one frame."""
PIECE = 256 << 10
"""Bytes of an archive in one frame."""

MARK = b"moat-nb:"
"""Begins the first line that is ours: a login shell may print anything before it."""
SEND, START = b"send", b"start"

ENDED = "moat-nb: the sandbox ended: "
"""Begins the last line of our program's stderr there."""


def path_of(text: str) -> Path:
    """For :func:`pickled`."""
    return Path(text)


class _Pickler(pickle.Pickler):
    """Python 3.13 would name its paths' class by a module that no other version has."""

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, PurePath):
            return path_of, (str(value),)
        return NotImplemented


def pickled(value: object) -> bytes:
    """For a program there, which another version of Python may run."""
    made = io.BytesIO()
    _Pickler(made, protocol=4).dump(value)
    return made.getvalue()


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(HEADER, "big") + data


def read_frame(read: Callable[[int], bytes]) -> bytes:
    """The next frame; ``read`` returns exactly so many bytes. ValueError for one that is too
    long."""
    size = int.from_bytes(read(HEADER), "big")
    if size > MOST_BYTES:
        raise ValueError(f"a frame of {size} bytes")
    return read(size)


def exactly(descriptor: int, wait: Callable[[], None] = lambda: None) -> Callable[[int], bytes]:
    """What reads so many bytes; EOFError at the end. ``wait`` is called before each read."""

    def read(size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            wait()
            piece = os.read(descriptor, size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    return read


def write(descriptor: int, data: bytes) -> None:
    """All of it."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class Frames:
    """Frames out of bytes that come in any pieces."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Those that are whole by now. ValueError for one that is too long."""
        self._pending += data
        while len(self._pending) >= HEADER:
            size = int.from_bytes(self._pending[:HEADER], "big")
            if size > MOST_BYTES:
                raise ValueError(f"a frame of {size} bytes")
            if len(self._pending) < HEADER + size:
                return
            frame = bytes(self._pending[HEADER : HEADER + size])
            del self._pending[: HEADER + size]
            yield frame
