"""What a sandbox asked for of the network, read back from its proxy's file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

from moat_nb.egress.records import Record
from moat_nb.text.tables import amount, table

__all__ = ["read", "requests_as_text"]

_REQUEST_COLUMNS = ("TIME", "METHOD", "HOST", "STATUS", "SENT", "RECEIVED", "RULE")


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


def requests_as_text(records: Iterable[Record]) -> str:
    return table([_REQUEST_COLUMNS, *map(_request_row, records)])


def _request_row(record: Record) -> tuple[str, ...]:
    default = 443 if record.tls or record.method == "CONNECT" else 80
    host = record.host if record.port == default else f"{record.host}:{record.port}"
    status = str(record.status or "-")
    rule = record.rule
    if record.outcome != "passed":
        words = "; ".join(filter(None, (record.reason, record.mend)))
        rule = f"{record.outcome}: {words}{f' ({record.address})' if record.address else ''}"
    return (
        time.strftime("%H:%M:%S", time.localtime(record.time)),
        record.method,
        host + (record.path or ""),
        status,
        amount(record.sent),
        amount(record.received),
        rule,
    )
