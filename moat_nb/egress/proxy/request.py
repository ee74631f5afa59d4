"""Judges one HTTP request, connects to its host and carries it there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

from moat_nb.egress.policy.evaluate import PolicyEvaluator
from moat_nb.egress.policy.verdict import Failed, Malformed, Refused, Verdict
from moat_nb.egress.proxy.attempt import Attempt
from moat_nb.egress.proxy.dialer import Dialer
from moat_nb.egress.proxy.exchange import Origin, check_host, exchange, path_in, target_of
from moat_nb.egress.proxy.http1 import (
    SWITCH,
    WEBSOCKET,
    Headers,
    Http1Connection,
    end_to_end,
    two_frames,
    upgrades,
)
from moat_nb.egress.proxy.streams import Plain, Stream, carry, within
from moat_nb.egress.proxy.tls import Tls
from moat_nb.egress.records import Record

if TYPE_CHECKING:
    from moat_nb.egress.proxy.interception import Interceptor

__all__ = ["Means", "allow", "carry_unseen", "forward"]

OTHER_URL = frozenset({b"x-original-url", b"x-rewrite-url"})
"""Headers by which some servers (IIS, Symfony, Zend) take another path than the one judged. They
are for a server's own front, so no client needs them; they are not passed on."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """The objects that all connections of the sandbox share."""

    judge: PolicyEvaluator
    dialer: Dialer
    interceptor: Interceptor | None
    on_record: Callable[[Record], None]


def allow(attempt: Attempt, verdict: Verdict) -> None:
    attempt.rule = verdict.rule
    if not verdict.allowed:
        raise Refused(verdict)


async def forward(
    means: Means,
    connection: Http1Connection,
    request: h11.Request,
    attempt: Attempt,
    through: Origin | None,
) -> None:
    """``through``: the CONNECT's host that the request came through, None for one to the proxy."""
    attempt.host = request.target.decode("latin-1") if through is None else through.host
    origin, path = target_of(request) if through is None else (through, path_in(request))
    attempt.host, attempt.port, attempt.path = origin.host, origin.port, path.partition("?")[0]
    allow(attempt, means.judge.request(origin.host, attempt.method, path))
    check_host(request, origin)
    headers = _headers(request, origin)
    upstream = None if origin.tls else means.dialer.upstream_for(origin.host)
    if upstream is None:
        attempt.server = await means.dialer.connect(origin.host, origin.port)
    else:
        attempt.server = await means.dialer.to_upstream(upstream, origin.host, origin.port)
        # "*" of a server is its URL without a path (RFC 9112, section 3.2.4).
        path = f"http://{origin.name}{path.removeprefix('*')}"
        headers += upstream.headers
    server = Http1Connection(await _spoken_to(means, origin, attempt.server), h11.CLIENT)
    await exchange(connection, server, request, path, headers, attempt)
    if connection.http.our_state is h11.SWITCHED_PROTOCOL:
        await connection.stream.write(server.http.trailing_data[0])
        await carry_unseen(
            attempt, connection.stream, server.stream, connection.http.trailing_data[0]
        )


async def carry_unseen(attempt: Attempt, client: Stream, server: Stream, begun: bytes) -> None:
    """Carry bytes both ways to their end, first those that the sandbox already sent."""
    try:
        await server.write(begun)
        await carry(client, server)
    except OSError as error:
        # Clients often end by a reset once they are done.
        attempt.reason = f"the connection broke: {error}"


def _headers(request: h11.Request, origin: Origin) -> Headers:
    """A connection to a host carries one request, so nothing is left over for a next one.

    The server is offered a switch to websockets only: in HTTP/2 over plain text, further requests
    would pass unseen.
    """
    if two_frames(request):
        raise Malformed("the request has both Content-Length and Transfer-Encoding")
    headers = [
        (name, value) for name, value in end_to_end(request) if name.lower() not in OTHER_URL
    ]
    if not any(name == b"host" for name, _ in request.headers):
        headers.append((b"host", origin.name.encode()))
    return headers + (SWITCH if WEBSOCKET in upgrades(request) else [(b"connection", b"close")])


async def _spoken_to(means: Means, origin: Origin, server: Plain) -> Stream:
    if not origin.tls:
        return server
    assert means.interceptor is not None
    stream = Tls(server, means.interceptor.to_host, server_hostname=origin.host)
    late = Failed("does not finish its TLS handshake", 504)
    try:
        await within(server.deadlines.head, stream.handshake(), late)
    except OSError as error:
        raise Failed(f"cannot be spoken to in TLS: {error}") from None
    return stream
