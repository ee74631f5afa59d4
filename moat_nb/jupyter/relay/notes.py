"""What the launcher has the user told in cells, of which no code of a cell takes any away."""

from __future__ import annotations

import bisect

from moat_nb.jupyter.relay.wire import Message

__all__ = ["MORE", "ORDINARY", "Notes"]

ORDINARY = 100
"""The weight of a note; those of a lower one come first."""

MAX_NOTES = 20
"""That are told in one cell, or wait for it; of the others there is a count."""

MAX_REPEATS = 10
"""Of those of one cell, which its code may remove each time; then the next cell tells them."""

MORE = "{count} more were left out; `moat-nb changes` lists what a sandbox changed"


class _Best:
    """The texts of the lowest weights, and how many there were beside."""

    def __init__(self) -> None:
        self._notes: list[tuple[int, int, str]] = []
        self._count = 0
        self._more = 0

    def add(self, text: str, weight: int) -> None:
        if any(text == known for *_, known in self._notes):
            return
        self._count += 1
        bisect.insort(self._notes, (weight, self._count, text))
        if len(self._notes) > MAX_NOTES:
            self._notes.pop()
            self._more += 1

    def texts(self) -> list[str]:
        more = [MORE.format(count=self._more)] if self._more else []
        return [*(text for *_, text in self._notes), *more]

    def weighed(self) -> list[tuple[str, int]]:
        return [(text, weight) for weight, _, text in self._notes]


class Notes:
    """Those that wait for the next cell, and those that were told in this one."""

    def __init__(self) -> None:
        self._waiting = _Best()
        self._told = _Best()
        self._is_cleared = False
        self._repeats = 0

    def keep(self, text: str, weight: int = ORDINARY) -> None:
        """For the next cell."""
        self._waiting.add(text, weight)

    def told(self, text: str, weight: int = ORDINARY) -> None:
        """In the cell that runs."""
        self._told.add(text, weight)

    def begin_cell(self) -> list[str]:
        """What is told in it first."""
        if self._is_cleared:  # and its cell never ended
            self._keep_told()
        self._told, self._waiting = self._waiting, _Best()
        self._is_cleared, self._repeats = False, 0
        return self._told.texts()

    def again(self, message: Message) -> list[str]:
        """What is to be told again before this message of the cell's: the front end has removed it,
        and the cell ends."""
        if message.kind == "clear_output":
            self._is_cleared = True
        is_end = message.kind == "execute_reply" or (
            message.kind == "status" and message.content.get("execution_state") == "idle"
        )
        if not self._is_cleared or not is_end:
            return []
        self._is_cleared = False
        self._repeats += 1
        if self._repeats == MAX_REPEATS:
            self._keep_told()
        return self._told.texts() if self._repeats <= MAX_REPEATS else []

    def _keep_told(self) -> None:
        for text, weight in self._told.weighed():
            self._waiting.add(text, weight)
