"""What clients have asked for and got no answer to: it says whether a kernel is at work.

The relay tells its launcher in words, a line each: :data:`CELL` when a cell's turn comes,
:data:`IDLE` when the last has been answered, :data:`ACTIVE` when something else was asked for, and
:data:`WANTED` when something is asked for of a sandbox that a limit of time has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moat_nb.jupyter.relay.wire import Message

__all__ = ["ACTIVE", "CELL", "IDLE", "WANTED", "WORDS", "Asked", "Work"]

CELL, IDLE, ACTIVE, WANTED = "cell", "idle", "active", "wanted"
WORDS = frozenset(word.encode() for word in (CELL, IDLE, ACTIVE, WANTED))
"""As lines."""

PAUSE_SECONDS = 1.0
"""Between two words for what takes no time, such as each letter that is typed."""

NO_WORK = frozenset({"kernel_info_request", "comm_info_request"})
"""What a page asks by itself."""

Asked = tuple[Sequence[bytes], Mapping[str, Any]]
"""Who has asked, and the request's header."""


class Work:
    """``tell(word)`` is called with one of :data:`WORDS`."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._cells: dict[str, Asked] = {}
        """By their ids, in the order in which they run."""
        self._told = 0.0

    def asked(self, identities: Sequence[bytes], header: Mapping[str, Any]) -> None:
        """A client has, with a message that is its own."""
        kind = header.get("msg_type")
        if kind == "execute_request":
            self._cells[str(header.get("msg_id"))] = list(identities), header
            if len(self._cells) == 1:
                self._tell(CELL)
        elif kind not in NO_WORK and time.monotonic() - self._told > PAUSE_SECONDS:
            self._told = time.monotonic()
            self._tell(ACTIVE)

    def hear(self, message: Message) -> None:
        """The kernel says something: an answer lets the next cell begin."""
        if message.kind != "execute_reply":
            return
        if self._cells.pop(message.parent.get("msg_id", ""), None) is not None:
            self._tell(CELL if self._cells else IDLE)

    @property
    def running(self) -> Mapping[str, Any] | None:
        """The header of the cell that runs: others wait for it."""
        return next((header for _, header in self._cells.values()), None)

    def wanted(self) -> None:
        self._tell(WANTED)

    def forget(self) -> list[Asked]:
        """What will have no answer, as the kernel has ended."""
        left = list(self._cells.values())
        if left:
            self._cells.clear()
            self._tell(IDLE)
        return left
