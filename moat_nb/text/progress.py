"""Progress of a start's long steps: a pull, a build, a download.

Nothing is shown during the first :data:`DELAY_SECONDS`, so a start that finds everything in
place stays silent. After that one display updates in place (a terminal's line or a notebook's
widget, both tqdm's). In a log there is one plain line a stage instead.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from moat_nb.text.terminal import one_line

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["DELAY_SECONDS", "Display", "Progress", "Silent", "for_user"]

DELAY_SECONDS = 2.0
"""A usual start takes a fraction of it; a longer wait needs an explanation."""

TICK_SECONDS = 1.0
"""Between two updates of the displayed clock: the work may print nothing for minutes."""

UNKNOWN_AMOUNT = "{desc} [{elapsed}{postfix}]"
KNOWN_AMOUNT = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}{postfix}]"

FULL = 100
"""Percent. A pull's total is known late, and a notebook's bar cannot change its total."""

LINE_LIMIT = 60
"""Characters of the work's own output shown beside the stage."""


class Progress(Protocol):
    """Called from one thread. A fault of the display raises nothing."""

    def stage(self, text: str) -> None:
        """A new stage starts, such as ``pulling python:3.11-slim``; its amount is unknown."""

    def update(self, done: int, total: int) -> None:
        """``done`` of ``total`` of this stage; units are the caller's (bytes, steps)."""

    def log(self, line: str) -> None:
        """A line of the work's own output, shown shortened until the next."""

    def close(self) -> None:
        """The work succeeded or failed; the display is removed."""


class Silent:
    """A Progress that shows nothing."""

    def stage(self, text: str) -> None:
        pass

    def update(self, done: int, total: int) -> None:
        pass

    def log(self, line: str) -> None:
        pass

    def close(self) -> None:
        pass


class Display:
    """A Progress that a person sees, on ``stream`` or in the notebook.

    ``choose`` is asked once, after ``delay`` seconds, for the class of the bar; None prints a
    plain line a stage instead.
    """

    def __init__(
        self,
        stream: TextIO,
        choose: Callable[[TextIO], type[tqdm[Any]] | None],
        delay: float = DELAY_SECONDS,
    ) -> None:
        self._stream = stream
        self._choose = choose
        self._bar_class: type[tqdm[Any]] | None = None
        self._bar: tqdm[Any] | None = None
        self._text = ""
        self._open = False
        self._lock = threading.Lock()
        # The work may be silent for minutes, so a timer opens the display.
        # In a notebook the context names the cell that a display belongs to.
        show = contextvars.copy_context().run
        self._timer = threading.Timer(delay, show, args=(self._show,))
        self._timer.daemon = True
        self._timer.start()

    def stage(self, text: str) -> None:
        with self._lock:
            self._text = text
            if self._open:
                self._begin()

    def update(self, done: int, total: int) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.bar_format = KNOWN_AMOUNT
                self._bar.n = FULL * done / total if total else 0
                self._bar.refresh()

    def log(self, line: str) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.set_postfix_str(one_line(line.strip()[:LINE_LIMIT]))

    def close(self) -> None:
        self._timer.cancel()
        with self._lock:
            self._open = False
            self._end()

    def _show(self) -> None:
        with self._lock:
            if self._timer.finished.is_set():
                return  # closed just as the delay ran out
            self._open = True
            self._bar_class = self._choose(self._stream)
            if self._text:
                self._begin()
        while not self._timer.finished.wait(TICK_SECONDS):
            with self._lock:
                if self._bar is not None:
                    self._bar.refresh()

    def _begin(self) -> None:
        if self._bar_class is None:
            print(f"moat-nb: {one_line(self._text)}", file=self._stream, flush=True)
        elif self._bar is not None:
            # One bar for all stages: in a notebook a second bar is a second display.
            self._bar.bar_format = UNKNOWN_AMOUNT
            self._bar.set_description_str(self._text, refresh=False)
            self._bar.set_postfix_str("", refresh=False)
            self._bar.reset()
        else:
            self._bar = self._bar_class(
                desc=self._text,
                total=FULL,
                file=self._stream,
                leave=False,
                bar_format=UNKNOWN_AMOUNT,
            )

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.n = FULL  # a notebook keeps one that is not full, in red
            self._bar.close()
            self._bar = None


def for_user(stream: TextIO | None = None) -> Display:
    """The display that fits: a widget in a notebook, a bar on a terminal, else plain lines.

    ``stream`` is stderr unless given, so that a command's own output stays clean.
    """
    return Display(sys.stderr if stream is None else stream, _choose)


def _choose(stream: TextIO) -> type[tqdm[Any]] | None:
    # Imported here: the import takes longer than the rest of a start with nothing to show.
    from tqdm.auto import tqdm

    in_notebook = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    return tqdm if in_notebook or stream.isatty() else None
