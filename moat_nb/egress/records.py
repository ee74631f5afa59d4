"""What went through the proxy, or was refused: records of bounded fields."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Outcome", "Record", "printable", "read"]

Outcome = Literal["passed", "refused", "failed"]

_LIMITS = {
    **{"method": 16, "host": 253, "path": 400, "rule": 300, "reason": 350, "hint": 400},
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
    hint: str
    address: str = ""
    """To which the name resolved, where that is why it was refused; no sandbox is told."""
    tls: bool = False
    """Whether it came in TLS that was opened for it."""

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def printable(text: str, limit: int) -> str:
    """Only ASCII: what steers a terminal, or looks like another host's name, does not pass."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:limit])


def read(path: Path) -> tuple[Record, ...]:
    """The oldest first, from :attr:`RunDir.requests`; none when nothing was asked for yet."""
    found = []
    for part in (path.with_name(f"{path.name}.1"), path):
        try:
            lines = part.read_bytes().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            try:
                found.append(Record(**json.loads(line)))
            except (ValueError, TypeError):
                continue  # the last, cut off by a full disk
    return tuple(found)
