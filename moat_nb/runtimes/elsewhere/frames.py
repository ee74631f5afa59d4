"""Frames, in which the two ends talk until a sandbox's stream begins: a length, and so many bytes.

What is here asks by name with pickled arguments, and what is there runs our own program; what comes
back is JSON or bytes, and no part of it is believed to be short.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
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
    "framed",
    "pickled",
    "read_frame",
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
