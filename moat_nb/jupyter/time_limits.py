"""A kernel's time: what its relay sees of its clients' work, and what is done when it takes too
long. The provisioner has one of these, and so has the keeper of a sandbox for shims."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from moat_nb.errors import SandboxGone
from moat_nb.jupyter.relay.process import RelayProcess
from moat_nb.jupyter.relay.work import ACTIVE, CELL, IDLE, WANTED
from moat_nb.sandbox.clock import exactly

if TYPE_CHECKING:
    from moat_nb.sandbox.clock import Clock
    from moat_nb.sandbox.guest_client import Process
    from moat_nb.sandbox.sandbox import Sandbox

__all__ = ["CellTimer", "TimeLimits", "are_set", "overtime"]

STOP_SECONDS = 10.0
"""From the interrupt of a cell that took too long to the end of its kernel."""


def overtime(seconds: float) -> str:
    """What is said of a cell that took longer than this."""
    return f"the cell took longer than {exactly(seconds)} (kernel.cell_timeout)"


class CellTimer:
    """Has a cell interrupted that takes longer than ``kernel.cell_timeout``, and its kernel ended
    when it does not stop then. ``tell(text)`` is called before."""

    def __init__(
        self, process: Process, seconds: float | None, tell: Callable[[str], None]
    ) -> None:
        self._process = process
        self._seconds = seconds
        self._tell = tell
        self._timer: threading.Timer | None = None
        self._lock = threading.RLock()
        """Held while the timer is changed, or acts as the one that counts."""
        self.overdue: str | None = None
        """Why the kernel was ended, if it was."""

    def begin(self) -> None:
        """A cell's turn has come."""
        with self._lock:
            self.cancel()
            if self._seconds is not None:
                self._after(self._seconds, self._interrupt)

    def cancel(self) -> None:
        """No cell runs."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _after(self, seconds: float, do: Callable[[], None]) -> None:
        self._timer = threading.Timer(seconds, do)
        self._timer.daemon = True
        self._timer.start()

    @property
    def _is_due(self) -> bool:
        """Whether the timer that has run out is still the one that counts."""
        return self._timer is threading.current_thread() and self._process.poll() is None

    def _interrupt(self) -> None:
        assert self._seconds is not None
        with self._lock:
            if not self._is_due:
                return
            self._after(STOP_SECONDS, self._kill)
        self._tell(f"{overtime(self._seconds)}, so it was interrupted")
        with contextlib.suppress(SandboxGone):
            self._process.signal(signal.SIGINT)

    def _kill(self) -> None:
        assert self._seconds is not None
        with self._lock:
            if self._is_due:
                why = f"{overtime(self._seconds)} and did not stop, so its kernel was ended"
                self.overdue = why
                self._process.kill()


class TimeLimits:
    """Of one client's kernels, which are one after another.

    ``wake()`` is called, in a thread of its own, when a client asks for something after its
    sandbox was ended for its time.
    """

    def __init__(self, relay: RelayProcess, wake: Callable[[], None]) -> None:
        self._relay = relay
        self._wake = wake
        self._lock = threading.Lock()
        self._clock: Clock | None = None
        self._timer: CellTimer | None = None
        relay.on_word = self._hear

    @property
    def overdue(self) -> str | None:
        """Why the kernel was ended, if it was for a cell that did not stop."""
        return None if self._timer is None else self._timer.overdue

    def watch(self, sandbox: Sandbox, process: Process) -> None:
        """This is the kernel from now on."""
        seconds = sandbox.config.kernel.cell_timeout
        self.end()
        with self._lock:
            self._clock = sandbox.clock
            self._timer = CellTimer(process, seconds, self._relay.note)

    def tell(self, text: str) -> None:
        """Of an end that comes."""
        self._relay.note(text, now=True)

    def end(self) -> None:
        """No kernel is there any more."""
        with self._lock:
            if self._timer is not None and self._clock is not None:
                self._timer.cancel()
                self._clock.finish(self)
            self._clock = self._timer = None

    def _hear(self, word: str) -> None:
        if word == WANTED:
            threading.Thread(target=self._wake, name="moat-wake", daemon=True).start()
            return
        with self._lock:
            clock, timer = self._clock, self._timer
            if clock is None or timer is None:
                return
            if word == ACTIVE:
                clock.touch()
            elif word == CELL:
                clock.begin(self)
                timer.begin()
            elif word == IDLE:
                timer.cancel()
                clock.finish(self)


def are_set(sandbox: Sandbox) -> bool:
    """Whether a client's messages must be seen, however much its output is trusted."""
    kernel = sandbox.config.kernel
    return any((kernel.idle_timeout, kernel.max_lifetime, kernel.cell_timeout))
