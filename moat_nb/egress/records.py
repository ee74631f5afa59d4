"""What went through the proxy, or was refused: records of bounded fields in a bounded file."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Outcome", "Record", "RecordFile", "printable", "read"]

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


def printable(text: str, limit: int) -> str:
    """Only ASCII: what steers a terminal, or looks like another host's name, does not pass."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:limit])


class RecordFile:
    """Half of ``limit`` bytes, and then it becomes ``PATH.1`` and a new one begins.

    What does not fit on a full disk is missing: no connection ends for its record's sake.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit // 2
        self._fd = self._open()

    def write(self, record: Record) -> None:
        line = record.line()
        with contextlib.suppress(OSError):
            if os.fstat(self._fd).st_size + len(line) > self._limit:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                os.close(self._fd)
                self._fd = self._open()
            os.write(self._fd, line)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._path, flags, 0o600)


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
