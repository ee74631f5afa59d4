"""The clock of a sandbox: when nothing has run in it for long, and when it has run for long.

What counts as work is what its launcher asked for, or saw a client ask for; no word of the
sandbox's makes it younger. A sandbox that is suspended with its machine does not age.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from math import inf

from moat_nb.config.model import KernelOptions

__all__ = ["Clock", "exactly"]

WARNING_SECONDS = 60.0
"""From a warning to the end; half of a limit that is shorter than two of these."""


def _warned_before(limit: float) -> float:
    """How many seconds before the end of so many one is warned of it."""
    return min(WARNING_SECONDS, limit / 2)


@dataclass(kw_only=True)
class _Alarm:
    """What happens so many seconds after a moment, once."""

    seconds: float
    ring: Callable[[], None]
    of_idleness: bool
    rung_for: float | None = None
    """The moment that it has rung for."""


@dataclass(kw_only=True)
class Clock:
    """Runs from :meth:`start` to :meth:`stop`; its methods may be called from any thread.

    ``warn(text)`` is told before the end, ``end(reason)`` is called when a limit has come, and
    ``rest()`` when it is time to give up what was made ahead of need; each from the clock's thread.
    """

    options: KernelOptions
    warn: Callable[[str], None]
    end: Callable[[str], None]
    rest: Callable[[], None]
    _work: set[Hashable] = field(default_factory=set)
    _wake: threading.Condition = field(default_factory=threading.Condition)
    _begun: float = 0.0
    _active: float = 0.0
    """When work was asked for, or ended, last."""
    _stopped: bool = False

    def start(self) -> None:
        self._begun = self._active = time.monotonic()
        alarms = self._alarms()
        threading.Thread(target=self._run, args=(alarms,), name="moat-clock", daemon=True).start()

    def stop(self) -> None:
        with self._wake:
            self._stopped = True
            self._wake.notify()

    # -------- work

    def touch(self) -> None:
        """Something was asked for that takes no time."""
        self._active = time.monotonic()

    def begin(self, work: Hashable) -> None:
        """``work`` goes on until :meth:`finish`."""
        with self._wake:
            self._work.add(work)
            self._active = time.monotonic()

    def finish(self, work: Hashable) -> None:
        """It has ended; harmless when it had not begun."""
        with self._wake:
            if work in self._work:
                self._work.discard(work)
                self._active = time.monotonic()
                self._wake.notify()

    # -------- alarms

    def _alarms(self) -> list[_Alarm]:
        options = self.options
        idle, life = options.idle_timeout, options.max_lifetime
        alarms = [_Alarm(seconds=options.spare_timeout, ring=self.rest, of_idleness=True)]
        if idle is not None:
            alarms += self._limit(
                idle,
                f"nothing has run in the sandbox for a while: it ends in {{left}} unless something "
                f"runs (kernel.idle_timeout is {exactly(idle)})",
                f"nothing ran in the sandbox for {exactly(idle)} (kernel.idle_timeout), so it was "
                "ended",
                of_idleness=True,
            )
        if life is not None:
            alarms += self._limit(
                life,
                f"the sandbox ends in {{left}}, as it may run for {exactly(life)} "
                "(kernel.max_lifetime): save what you need",
                f"the sandbox ran for {exactly(life)} (kernel.max_lifetime), so it was ended",
                of_idleness=False,
            )
        return alarms

    def _limit(
        self, seconds: float, warning: str, reason: str, *, of_idleness: bool
    ) -> tuple[_Alarm, _Alarm]:
        before = _warned_before(seconds)

        def warn() -> None:
            self.warn(warning.format(left=exactly(before)))

        def end() -> None:
            self.end(reason)

        return (
            _Alarm(seconds=seconds - before, ring=warn, of_idleness=of_idleness),
            _Alarm(seconds=seconds, ring=end, of_idleness=of_idleness),
        )

    def _run(self, alarms: list[_Alarm]) -> None:
        while True:
            with self._wake:
                if self._stopped:
                    return
                due, alarm = min(
                    ((self._due(alarm), alarm) for alarm in alarms), key=lambda pair: pair[0]
                )
                left = due - time.monotonic()
                if left > 0:
                    self._wake.wait(None if left == inf else left)
                    continue
                alarm.rung_for = self._moment(alarm)
            alarm.ring()

    def _moment(self, alarm: _Alarm) -> float:
        return self._active if alarm.of_idleness else self._begun

    def _due(self, alarm: _Alarm) -> float:
        """When it rings; never while what it would interrupt goes on."""
        moment = self._moment(alarm)
        if alarm.rung_for == moment or (alarm.of_idleness and self._work):
            return inf
        return moment + alarm.seconds


def exactly(seconds: float) -> str:
    """Seconds in words, as exact as a limit is given: ``90 s``, ``2 h``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"
