"""What a sandbox asked for of the network, read back from its proxy's file."""

from __future__ import annotations

import time
from collections.abc import Iterable

from moat_nb.egress.records import Record
from moat_nb.text.tables import amount, table

__all__ = ["requests_as_text"]

_REQUEST_COLUMNS = ("TIME", "METHOD", "HOST", "STATUS", "SENT", "RECEIVED", "RULE")


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
