"""A request log with a record of each kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from moat_nb.egress.proxy.attempt import Attempt
from moat_nb.egress.records import Record


def record(**fields: object) -> Record:
    made = Attempt(method="GET", host="pypi.test", port=80, path="/x", rule="policy permissive")
    return replace(made.record(), **{"status": 200, "sent": 120, "received": 3 << 20, **fields})


RECORDS = [
    record(),
    record(port=8080),
    record(port=443, tls=True),
    record(port=8443, tls=True),
    record(method="CONNECT", port=443, path=None),
    record(method="CONNECT", port=80, path=None),
    record(outcome="refused", status=403, reason="is none", hint="add it", address="10.9.9.9"),
    record(outcome="failed", status=None, reason="broke"),
]


def written(path: Path) -> Path:
    """The first of them in the older part, and a line that a full disk cut off."""
    lines = [one.line() for one in RECORDS]
    path.with_name(f"{path.name}.1").write_bytes(lines[0])
    path.write_bytes(b"".join(lines[1:]) + lines[0][:40])
    return path
