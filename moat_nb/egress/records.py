"""The log of requests that passed the proxy or were refused: records of bounded fields."""

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
    """One request, or one connection carried unseen; every text is printable ASCII."""

    time: float
    """Of its beginning, in seconds since the epoch."""
    method: str
    host: str
    port: int
    path: str | None
    """Without the query, which may hold a password; None where TLS hides it."""
    status: int | None
    """The HTTP status of the answer to the sandbox; 200 for a CONNECT that was carried."""
    sent: int
    """Bytes to the host, including the protocol's overhead."""
    received: int
    seconds: float
    outcome: Outcome
    rule: str
    reason: str
    hint: str
    address: str = ""
    """The address of the name, where it is the reason of the refusal; no sandbox is told."""
    tls: bool = False
    """Whether it came in intercepted TLS."""

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def printable(text: str, limit: int) -> str:
    """``text`` cut to ``limit`` characters of printable ASCII: no control sequences, no letters
    that look like another host's name."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:limit])


def read(path: Path) -> tuple[Record, ...]:
    """The records of :attr:`RunDir.requests`, the oldest first; empty before the first request."""
    records = []
    for part in (path.with_name(f"{path.name}.1"), path):
        try:
            lines = part.read_bytes().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            try:
                records.append(Record(**json.loads(line)))
            except (ValueError, TypeError):
                continue  # the last, cut off by a full disk
    return tuple(records)
