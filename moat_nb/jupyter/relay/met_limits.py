"""Whether a cell has just met a limit: no room to write to, or for another process or file, or no
memory, as programs say it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from moat_nb.jupyter.relay.wire import Message

__all__ = ["MetLimits", "tells_of_it"]

ANSWER_SECONDS = 1.0
"""For the launcher to say what is full; the cell's end waits for it, so that it stands there."""

LOOKED_THROUGH = 64 << 10
"""Characters of one message."""

_WORDS = re.compile(
    r"No space left on device|Errno 28\b"
    r"|requested and \d+ written"  # numpy
    r"|PytorchStreamWriter failed|out of shared memory|Bus error"  # torch
)
_NO_PROCESS = re.compile(
    r"can't start new thread|Resource temporarily unavailable|Cannot fork|pthread_create failed"
    r"|unable to create (new )?native thread|Thread creation failed"
)
PIDS = "if a process or a thread could not be started: kernel.pids says how many there may be"
_NO_FILE = re.compile(r"Too many open files|Errno 24\b")
FILES = (
    "if a file could not be opened: container.ulimits (nofile) says how many there may be at once"
)
_NO_MEMORY = re.compile(r"MemoryError|Cannot allocate memory|Unable to allocate|std::bad_alloc")
MEMORY = "if memory could not be had: container.memory says how much there may be"
_LIMITS = ((_NO_PROCESS, PIDS), (_NO_FILE, FILES), (_NO_MEMORY, MEMORY))


def tells_of_it(message: Message, words: re.Pattern[str] = _WORDS) -> bool:
    """Whether it shows text that says so."""
    shown = {"stream": ("text",), "error": ("ename", "evalue")}.get(message.kind, ())
    texts = (message.content.get(name) for name in shown)
    return any(isinstance(text, str) and words.search(text[:LOOKED_THROUGH]) for text in texts)


class MetLimits:
    """What a cell is told of them, once: by the key that is known; of what is full by the answer of
    the launcher, which is asked and waited for."""

    def __init__(self) -> None:
        self._asked = False
        self._told: set[str] = set()
        self._until = 0.0
        self.cell: Mapping[str, Any] | None = None
        """The header that the answer belongs to; None while none is waited for."""

    def begin_cell(self) -> None:
        self._asked = False
        self._told.clear()

    def hints(self, message: Message) -> Iterator[str]:
        """What is to be said of limits whose keys are known without a question, once a cell."""
        for words, hint in _LIMITS:
            if hint not in self._told and tells_of_it(message, words):
                self._told.add(hint)
                yield hint

    def asks(self, message: Message) -> bool:
        """Whether the launcher is to be asked now."""
        if self._asked or self.cell is not None or not tells_of_it(message):
            return False
        self._asked, self.cell = True, message.parent
        self._until = time.monotonic() + ANSWER_SECONDS
        return True

    @property
    def overdue(self) -> bool:
        return self.cell is not None and time.monotonic() > self._until
