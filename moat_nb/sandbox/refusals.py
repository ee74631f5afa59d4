"""What a user is told of refusals while a cell runs: each once, however often a program retries."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from moat_nb.text.terminal import one_line

__all__ = ["RefusalNotices", "refusal"]

QUIET_SECONDS = 5.0
"""What was refused within so many seconds is the same program trying again: pip's pauses between
its five tries grow to 4 s."""

MOST = 100
"""Different refusals that are remembered, and told of, until there was a quiet while."""

LONGEST = 500


def refusal(record: Mapping[str, Any]) -> str | None:
    """In one line what was refused and how to allow it; None when this is of something else."""
    if record.get("outcome") != "refused":
        return None
    words = f"refused: {record.get('host')} {record.get('reason')}"
    if hint := record.get("hint"):
        words += f"; {hint}, and start the sandbox anew"
    return one_line(words[:LONGEST])


class RefusalNotices:
    """Says whether a text is news; thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def is_new(self, text: str) -> bool:
        """Whether it was not told in the last :data:`QUIET_SECONDS`, nor too much else."""
        with self._lock:
            now = self._clock()
            self._last = {told: at for told, at in self._last.items() if now - at < QUIET_SECONDS}
            if text not in self._last and len(self._last) >= MOST:
                return False
            new = text not in self._last
            self._last[text] = now
            return new

    def forget(self) -> None:
        """Another cell begins: what it is refused is news to who runs it."""
        with self._lock:
            self._last.clear()
