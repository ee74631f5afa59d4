"""The proxy's server: accepts a limited number of the sandbox's connections at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from moat_nb.egress.options import Interception, ProxyOptions
from moat_nb.egress.policy.evaluate import PolicyEvaluator
from moat_nb.egress.proxy.connection import ClientConnection
from moat_nb.egress.proxy.dialer import Dialer
from moat_nb.egress.proxy.request import Means
from moat_nb.egress.proxy.resolver import Resolver
from moat_nb.egress.proxy.streams import CHUNK, Plain
from moat_nb.egress.records import Record
from moat_nb.egress.upstream import Upstream

if TYPE_CHECKING:
    from moat_nb.egress.proxy.interception import Interceptor

__all__ = ["Proxy"]


class Proxy:
    """``on_record`` gets the record of each request when it has ended."""

    def __init__(
        self, options: ProxyOptions, on_record: Callable[[Record], None], limit: int
    ) -> None:
        intercept = options.intercept
        self._means = Means(
            judge=PolicyEvaluator(network=options.network),
            dialer=Dialer(
                Resolver(options.reachable),
                options.deadlines,
                Upstream.parse(options.upstream) if options.upstream else None,
                options.no_proxy,
                options.trust,
            ),
            interceptor=_interceptor(intercept, options.trust) if intercept else None,
            on_record=on_record,
        )
        self._limit = limit
        self._deadlines = options.deadlines
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, listening: socket.socket) -> None:
        """Until it is cancelled; then every connection ends, and is recorded."""
        # Never closed: that would wait for its connections, and remove the launcher's socket.
        await asyncio.start_server(self._arrived, sock=listening, limit=CHUNK, backlog=self._limit)
        try:
            await asyncio.Event().wait()
        finally:
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        client = Plain(reader, writer, self._deadlines)
        connection = ClientConnection(self._means, client)
        full = len(self._open) >= self._limit
        self._open.add(task)
        try:
            await (connection.turn_away() if full else connection.run())
            await client.linger()
        except (OSError, asyncio.CancelledError):
            pass  # the sandbox hung up, or the proxy ends
        finally:
            client.close()
            self._open.discard(task)


def _interceptor(given: Interception, trust: str | None) -> Interceptor:
    from moat_nb.egress.proxy.interception import Interceptor

    return Interceptor(given, trust)
