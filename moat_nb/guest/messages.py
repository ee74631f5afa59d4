"""Messages as bytes: a line of JSON each, and behind it as many bytes as it names by ``size``."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, Optional

LONGEST_BODY = 16 << 20
"""Bytes, the most that follow a line."""


def encode(kind: str, body: Optional[bytes] = None, **fields: Any) -> bytes:
    """The message ``kind``; with a ``body``, an empty one too, its size is one more field."""
    message = dict(fields, type=kind)
    if body is None:
        return json.dumps(message).encode() + b"\n"
    return json.dumps(dict(message, size=len(body))).encode() + b"\n" + body


class Decoder:
    """Takes bytes in any pieces, and gives the messages that are whole, each with its ``body``.

    Who sends them may be hostile: ValueError for a line of more than ``longest_line`` bytes, for a
    body that is too long, and for what is no JSON object.
    """

    def __init__(self, longest_line: int) -> None:
        self.longest_line = longest_line
        self.buffer = bytearray()
        self.searched = 0  # bytes of it that have no end of a line
        self.message: Optional[Dict[str, Any]] = None  # whose body is awaited
        self.size = 0

    def feed(self, data: bytes) -> Iterator[Dict[str, Any]]:
        self.buffer += data
        while True:
            if self.message is None and not self._take_line():
                return
            assert self.message is not None
            if len(self.buffer) < self.size:
                return
            message, self.message = self.message, None
            if "size" in message:
                del message["size"]
                message["body"] = bytes(self.buffer[: self.size])
                del self.buffer[: self.size]
            yield message

    def _take_line(self) -> bool:
        end = self.buffer.find(b"\n", self.searched)
        self.searched = len(self.buffer) if end < 0 else 0
        if (end if end >= 0 else len(self.buffer)) > self.longest_line:
            raise ValueError("a message without end")
        if end < 0:
            return False
        message = json.loads(self.buffer[:end])
        del self.buffer[: end + 1]
        if not isinstance(message, dict) or "body" in message:
            raise ValueError("no message")
        size = message.get("size", 0)
        if type(size) is not int or not 0 <= size <= LONGEST_BODY:
            raise ValueError("a body of no size that there is")
        self.message, self.size = message, size
        return True
