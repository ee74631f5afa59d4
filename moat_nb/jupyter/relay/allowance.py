"""How much a kernel may send."""

from __future__ import annotations

import time

from moat_nb.jupyter.relay.wire import Message

__all__ = ["TOO_MUCH", "Allowance"]

LIMIT = 256 << 20
"""Bytes that a kernel may send between two requests to execute something, and those that they grow
by when they are made harmless: each figure has its library with it. A server keeps what its browser
does not fetch, so this bounds a server's memory too."""

TOO_MUCH = (
    f"more than {LIMIT >> 20} MiB of output came from the sandbox; what comes until the next cell "
    "is run is not shown"
)

RATE = 16 << 10
"""Bytes a second that it may send beside, for cells that run for days."""

ALWAYS_PASSES = 64 << 10
"""Bytes of a reply or a status that passes although nothing else does."""


class Allowance:
    def __init__(self) -> None:
        self._left: float = LIMIT
        self._at = time.monotonic()
        self.exceeded = False
        """Whether something did not pass since it was renewed."""

    def renew(self) -> None:
        self._left, self.exceeded = LIMIT, False

    def affords(self, message: Message, size: int) -> bool:
        """Whether a message of so many bytes, or so many more, may pass; if so they are spent."""
        size = max(size, 0)
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * RATE, LIMIT)
        self._at = now
        if size <= self._left:
            self._left -= size
            return True
        self.exceeded = True
        ends_a_wait = message.kind == "status" or message.kind.endswith("_reply")
        return ends_a_wait and size < ALWAYS_PASSES
