"""Connections: what no test can bring about from outside."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moat_nb.egress.proxy.attempt import Attempt
from moat_nb.egress.proxy.connection import ClientConnection
from moat_nb.egress.records import Record


class Client:
    aborted = False

    def abort(self) -> None:
        self.aborted = True


class Means:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.on_record = self.records.append


def test_what_fails_unexpectedly_is_recorded_as_failed_and_cut_off() -> None:
    means: Any = Means()
    client: Any = Client()

    async def main() -> None:
        attempt = Attempt(method="GET", host="pypi.test", port=80)
        async with ClientConnection(means, client)._recorded(None, attempt):  # type: ignore[arg-type]
            raise KeyError("hunter2")

    with pytest.raises(KeyError):
        asyncio.run(main())
    (record,) = means.records
    assert (record.outcome, record.reason) == ("failed", "the proxy failed: KeyError")
    assert client.aborted
