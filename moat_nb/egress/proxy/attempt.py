"""A request under way, which becomes a record when it ends."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from moat_nb.egress.proxy.streams import Plain
from moat_nb.egress.records import _LIMITS, Outcome, Record, printable

__all__ = ["Attempt"]


@dataclass(kw_only=True)
class Attempt:
    """Collects the fields of one Record."""

    method: str
    host: str
    port: int
    path: str | None = None
    rule: str = ""
    status: int | None = None
    reason: str = ""
    hint: str = ""
    address: str = ""
    tls: bool = False
    outcome: Outcome = "passed"
    server: Plain | None = None
    """The connection to the host, which ends with the attempt."""
    itemised: bool = False
    """A CONNECT whose requests are recorded in its place, one by one."""
    _time: float = field(default_factory=time.time)
    _start: float = field(default_factory=time.monotonic)

    def record(self) -> Record:
        text = {
            name: printable(getattr(self, name) or "", limit) for name, limit in _LIMITS.items()
        }
        return Record(
            time=round(self._time, 3),
            method=text["method"],
            host=text["host"],
            port=self.port,
            path=None if self.path is None else text["path"],
            status=self.status,
            sent=self.server.sent if self.server else 0,
            received=self.server.received if self.server else 0,
            seconds=round(time.monotonic() - self._start, 3),
            outcome=self.outcome,
            rule=text["rule"],
            reason=text["reason"],
            hint=text["hint"],
            address=text["address"],
            tls=self.tls,
        )
