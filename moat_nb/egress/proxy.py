"""The proxy: what a sandbox sends is read here, judged, and carried to the host it may reach."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import h11

from moat_nb.egress.addresses import Resolver
from moat_nb.egress.dial import Dialer
from moat_nb.egress.exchange import HTTP_PORT, exchange, target_of
from moat_nb.egress.hello import HANDSHAKE, server_name
from moat_nb.egress.names import authority, host_name
from moat_nb.egress.order import Order
from moat_nb.egress.records import Attempt, Record
from moat_nb.egress.rules import Judge
from moat_nb.egress.side import HEAD_SECONDS, Side, end_to_end
from moat_nb.egress.streams import CHUNK, Plain, carry
from moat_nb.egress.verdict import Ended, Failed, Malformed, Refused, Verdict

__all__ = ["Proxy"]


class Proxy:
    """``on_record`` hears of each request when it has ended, however it did."""

    def __init__(self, order: Order, on_record: Callable[[Record], None], limit: int) -> None:
        self._judge = Judge(policy=order.policy, rules=order.rules, file=order.file)
        self._dialer = Dialer(Resolver(order.reachable))
        self._on_record = on_record
        self._limit = limit
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, listening: socket.socket) -> None:
        """Until it is cancelled; then every connection ends, and is recorded."""
        server = await asyncio.start_server(self._arrived, sock=listening, limit=CHUNK)
        try:
            await server.serve_forever()
        finally:
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        client = Plain(reader, writer)
        full = len(self._open) >= self._limit
        self._open.add(task)
        try:
            await _Visit(self._judge, self._dialer, self._on_record, client).run(full=full)
        except (OSError, asyncio.CancelledError):
            pass  # the sandbox hung up, or the proxy ends
        finally:
            client.close()
            self._open.discard(task)


class _Visit:
    """One connection of the sandbox's: requests one after another, or one CONNECT."""

    def __init__(
        self, judge: Judge, dialer: Dialer, on_record: Callable[[Record], None], client: Plain
    ) -> None:
        self._judge = judge
        self._dialer = dialer
        self._on_record = on_record
        self._client = client

    async def run(self, *, full: bool) -> None:
        side = Side(self._client, h11.SERVER)
        while True:
            request = await self._request(side)
            if request is None:
                return
            attempt = Attempt(
                method=request.method.decode(), host=request.target.decode("latin-1"), port=0
            )
            await self._one(side, request, attempt, full)
            if side.http.our_state is not h11.DONE or side.http.their_state is not h11.DONE:
                return
            side.http.start_next_cycle()

    async def _request(self, side: Side) -> h11.Request | None:
        try:
            event = await asyncio.wait_for(side.event(), HEAD_SECONDS)
        except (asyncio.TimeoutError, TimeoutError):
            return None
        except h11.RemoteProtocolError as error:
            await side.answer(Malformed(str(error)), f"moat: this is not HTTP: {error}")
            return None
        return event if isinstance(event, h11.Request) else None

    async def _one(self, side: Side, request: h11.Request, attempt: Attempt, full: bool) -> None:
        """Carry one request to its end, and record how that came."""
        server: list[Plain] = []
        try:
            if full:
                raise Failed("too many connections at once", 503)
            if request.method == b"CONNECT":
                await self._connect(side, request, attempt, server)
            else:
                await self._forward(side, request, attempt, server)
        except Refused as refused:
            verdict = refused.verdict
            attempt.outcome, attempt.rule = "refused", verdict.rule
            attempt.reason, attempt.mend = verdict.reason, verdict.mend
            await self._say(side, refused, attempt)
        except Ended as ended:
            attempt.outcome, attempt.reason = "failed", ended.reason
            await self._say(side, ended, attempt)
        except (h11.RemoteProtocolError, OSError) as error:
            attempt.outcome, attempt.reason = "failed", f"did not do as it should: {error}"
            await self._say(side, Failed(str(error)), attempt)
        finally:
            sent, received = (server[0].sent, server[0].received) if server else (0, 0)
            for stream in server:
                stream.close()
            self._on_record(attempt.record(sent, received))

    async def _say(self, side: Side, ended: Ended, attempt: Attempt) -> None:
        mend = f"; {attempt.mend}" if attempt.mend else ""
        with contextlib.suppress(OSError, h11.LocalProtocolError):
            if await side.answer(ended, f"moat: {attempt.host} {attempt.reason}{mend}"):
                attempt.status = ended.status
            else:
                self._client.abort()

    async def _forward(
        self, side: Side, request: h11.Request, attempt: Attempt, server: list[Plain]
    ) -> None:
        target = target_of(request, None, HTTP_PORT)
        attempt.host, attempt.port = target.host, target.port
        attempt.path = target.path.partition("?")[0]
        self._allow(attempt, self._judge.request(target.host, attempt.method, target.path))
        headers = [*end_to_end(request.headers), (b"connection", b"close")]
        server.append(await self._dialer.connect(target.host, target.port))
        host = Side(server[0], h11.CLIENT)
        await exchange(side, request, host, headers, target.path, attempt)

    async def _connect(
        self, side: Side, request: h11.Request, attempt: Attempt, server: list[Plain]
    ) -> None:
        host, port = authority(request.target.decode("latin-1"), None)
        attempt.host, attempt.port = host, port
        self._allow(attempt, self._judge.host(host))
        server.append(await self._dialer.connect(host, port))
        await side.event()  # the request's end
        await side.send(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
        attempt.status = 200
        begun, _ = side.http.trailing_data
        begun = await self._hello(begun, host)
        await server[0].write(begun)
        await carry(self._client, server[0])

    async def _hello(self, begun: bytes, host: str) -> bytes:
        """What the sandbox says first; Refused unless it asks in TLS for ``host``."""
        while not begun or begun[0] == HANDSHAKE:
            name = server_name(begun)
            if name is not None and (not name or host_name(name) != host):
                reason = f"is asked for {name or 'no host'} inside TLS"
                raise Refused(Verdict(allowed=False, rule="one host in a request", reason=reason))
            if name is not None:
                return begun
            more = await asyncio.wait_for(self._client.read(CHUNK), HEAD_SECONDS)
            if not more:
                raise Failed("was connected to, and the sandbox said nothing")
            begun += more
        reason = "is spoken to in something else than TLS"
        raise Refused(Verdict(allowed=False, rule="TLS in CONNECT", reason=reason))

    def _allow(self, attempt: Attempt, verdict: Verdict) -> None:
        attempt.rule = verdict.rule
        if not verdict.allowed:
            raise Refused(verdict)
