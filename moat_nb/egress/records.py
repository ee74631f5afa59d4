"""What went through the proxy, or was refused: records of bounded fields."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Literal

from moat_nb.egress.streams import Plain

__all__ = ["Attempt", "Outcome", "Record", "printable"]

Outcome = Literal["passed", "refused", "failed"]

_LIMITS = {
    **{"method": 16, "host": 253, "path": 400, "rule": 300, "reason": 350, "mend": 400},
    "address": 45,
}
"""Characters of each text. A line of JSON stays below 4096 bytes, which a pipe takes whole."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One request, or one connection that was carried unseen; every text is printable ASCII."""

    time: float
    """Seconds since the epoch, when it began."""
    method: str
    host: str
    port: int
    path: str | None
    """Without the query, which may hold a password; None where TLS hides it."""
    status: int | None
    """The HTTP status that the sandbox was answered with; 200 for a CONNECT that was carried."""
    sent: int
    """Bytes to the host, its protocol's overhead included."""
    received: int
    seconds: float
    outcome: Outcome
    rule: str
    reason: str
    mend: str
    address: str = ""
    """To which the name resolved, where that is why it was refused; no sandbox is told."""
    tls: bool = False
    """Whether it came in TLS that was opened for it."""

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


@dataclass(kw_only=True)
class Attempt:
    """A Record in the making."""

    method: str
    host: str
    port: int
    path: str | None = None
    rule: str = ""
    status: int | None = None
    reason: str = ""
    mend: str = ""
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
            mend=text["mend"],
            address=text["address"],
            tls=self.tls,
        )


def printable(text: str, limit: int) -> str:
    """Only ASCII: what steers a terminal, or looks like another host's name, does not pass."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:limit])
