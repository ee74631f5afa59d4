"""One client connection: requests one after another, or a CONNECT and its tunnel."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import h11

from moat_nb.egress.options import INSTALL
from moat_nb.egress.policy.hostnames import HOST_GATEWAY, authority
from moat_nb.egress.policy.verdict import Ended, Failed, Malformed, Refused, Verdict
from moat_nb.egress.proxy.attempt import Attempt
from moat_nb.egress.proxy.exchange import Origin
from moat_nb.egress.proxy.happy_eyeballs import connect_first
from moat_nb.egress.proxy.http1 import Http1Connection, has_body
from moat_nb.egress.proxy.request import Means, allow, carry_unseen, forward
from moat_nb.egress.proxy.resolver import Address
from moat_nb.egress.proxy.sniff import ACCESS_DENIED, sniff
from moat_nb.egress.proxy.streams import Plain, within
from moat_nb.egress.proxy.tls import Tls

__all__ = ["ClientConnection"]


class ClientConnection:
    def __init__(self, means: Means, client: Plain) -> None:
        self._means = means
        self._client = client
        self._tunnel_of: Attempt | None = None
        """The CONNECT whose requests are recorded in its place, if any come."""

    async def run(self) -> None:
        await self._requests(Http1Connection(self._client, h11.SERVER), None)

    async def turn_away(self) -> None:
        connection = Http1Connection(self._client, h11.SERVER)
        async with self._recorded(connection, Attempt(method="", host="", port=0)):
            raise Failed("too many connections at once", 503)

    async def _requests(self, connection: Http1Connection, through: Origin | None) -> None:
        """``through``: the CONNECT's host that they came through, None for requests to a proxy."""
        while (request := await self._request(connection, through)) is not None:
            attempt = _attempt(through, request.method.decode("latin-1"))
            if through is None and request.method == b"CONNECT":
                await self._connect(connection, request, attempt)
                return
            async with self._recorded(connection, attempt):
                await forward(self._means, connection, request, attempt, through)
            if (
                connection.http.our_state is not h11.DONE
                or connection.http.their_state is not h11.DONE
            ):
                return
            connection.http.start_next_cycle()

    async def _request(
        self, connection: Http1Connection, through: Origin | None
    ) -> h11.Request | None:
        """The next request; None at the end, or after a malformed one, which is recorded."""
        late = Failed("no request came")
        try:
            event = await within(self._client.deadlines.head, connection.event(), late)
        except (Failed, OSError):
            return None  # it hung up
        except h11.RemoteProtocolError as error:
            reason = f"what the sandbox sent is not a request of HTTP/1.1: {error}"
            async with self._recorded(connection, _attempt(through)):
                raise Malformed(reason) from None
            return None
        return event if isinstance(event, h11.Request) else None

    async def _connect(
        self, connection: Http1Connection, request: h11.Request, attempt: Attempt
    ) -> None:
        async with self._recorded(connection, attempt):
            attempt.host = request.target.decode("latin-1")
            attempt.host, attempt.port = authority(attempt.host, None)
            if has_body(request):
                raise Malformed("a CONNECT has no body")
            inside = await self._tunnel(connection, attempt)
            if inside is not None:
                tls = isinstance(inside.stream, Tls)
                origin = Origin(host=attempt.host, port=attempt.port, tls=tls)
                self._tunnel_of = attempt
                await self._requests(inside, origin)
                await inside.stream.end()
                attempt.reason = "no request came"  # recorded only where none did

    async def _tunnel(
        self, connection: Http1Connection, attempt: Attempt
    ) -> Http1Connection | None:
        """Carry TLS to its end, unseen; or return a connection whose requests are to be judged."""
        host, port = attempt.host, attempt.port
        if host == HOST_GATEWAY:
            await self._to_this_machine(connection, attempt)
            return None
        allow(attempt, self._means.judge.host(host))
        opened = self._means.judge.looks_inside(host)
        if not opened:
            attempt.server = await self._means.dialer.connect(host, port)
        begun, tls = await sniff(self._client, await self._established(connection, attempt), host)
        if attempt.server is not None and tls:
            await carry_unseen(attempt, self._client, attempt.server, begun)
            return None
        if attempt.server is not None:
            attempt.server.close()  # each request gets one of its own
        return (
            await self._opened(begun, host)
            if tls
            else Http1Connection(self._client, h11.SERVER, begun)
        )

    async def _to_this_machine(self, connection: Http1Connection, attempt: Attempt) -> None:
        port = attempt.port
        allow(attempt, self._means.judge.this_machine(port))
        loopback = Address(family=socket.AF_INET, sockaddr=("127.0.0.1", port))
        attempt.server = await connect_first([loopback], self._client.deadlines)
        begun = await self._established(connection, attempt)
        await carry_unseen(attempt, self._client, attempt.server, begun)

    async def _established(self, connection: Http1Connection, attempt: Attempt) -> bytes:
        """Answer that the tunnel stands; return the bytes that the sandbox already sent."""
        while not isinstance(await connection.event(), h11.EndOfMessage):
            pass
        await connection.send(
            h11.Response(status_code=200, headers=[], reason=b"Connection established")
        )
        attempt.status = 200
        return connection.http.trailing_data[0]

    async def _opened(self, begun: bytes, host: str) -> Http1Connection:
        if self._means.interceptor is None:
            await self._client.write(ACCESS_DENIED)
            reason = "has rules with methods or paths, which TLS hides"
            raise Refused(
                Verdict(allowed=False, rule="interception", reason=reason, hint=f"run {INSTALL}")
            )
        stream = Tls(self._client, self._means.interceptor.for_sandbox(host), begun=begun)
        late = Failed("the sandbox does not finish its TLS handshake", 504)
        try:
            await within(self._client.deadlines.head, stream.handshake(), late)
        except OSError as error:
            reason = f"the sandbox does not trust its authority, or hung up: {error}"
            raise Failed(reason) from None
        return Http1Connection(stream, h11.SERVER)

    @contextlib.asynccontextmanager
    async def _recorded(self, connection: Http1Connection, attempt: Attempt) -> AsyncIterator[None]:
        """Answer with what ended the attempt, if anything did, and record it."""
        try:
            yield
        except Refused as refused:
            verdict = refused.verdict
            attempt.outcome, attempt.rule = "refused", verdict.rule
            attempt.reason, attempt.hint = verdict.reason, verdict.hint
            attempt.address = verdict.address
            await self._answer_why(connection, refused, attempt)
        except Ended as ended:
            attempt.outcome, attempt.reason = "failed", ended.reason
            await self._answer_why(connection, ended, attempt)
        except (h11.ProtocolError, OSError) as error:
            attempt.outcome, attempt.reason = "failed", f"the connection broke: {error}"
            self._client.abort()
        except asyncio.CancelledError:
            attempt.reason = "the sandbox ended"
            raise
        except Exception as error:
            attempt.outcome, attempt.reason = "failed", f"the proxy failed: {type(error).__name__}"
            self._client.abort()
            raise
        finally:
            if attempt.server is not None:
                attempt.server.close()
            if self._tunnel_of is not None and self._tunnel_of is not attempt:
                self._tunnel_of.itemised = True
            if attempt.outcome != "passed" or not attempt.itemised:
                self._means.on_record(attempt.record())

    async def _answer_why(
        self, connection: Http1Connection, ended: Ended, attempt: Attempt
    ) -> None:
        words = (word for word in ("moat:", attempt.host, attempt.reason) if word)
        hint = f"; {attempt.hint}" if attempt.hint else ""
        try:
            answered = await connection.answer(ended, " ".join(words) + hint)
        except (OSError, h11.LocalProtocolError):
            answered = False
        if answered:
            attempt.status = ended.status
        else:
            self._client.abort()  # so that no client takes a partial answer for the whole


def _attempt(through: Origin | None, method: str = "") -> Attempt:
    if through is None:
        return Attempt(method=method, host="", port=0)
    return Attempt(method=method, host=through.host, port=through.port, tls=through.tls)
