"""One HTTP request carried to its host, and the answer carried back."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from moat_nb.egress.names import authority
from moat_nb.egress.records import Attempt
from moat_nb.egress.side import Headers, Side, end_to_end
from moat_nb.egress.streams import IDLE_SECONDS
from moat_nb.egress.verdict import Failed, Malformed, Refused, Verdict

__all__ = ["Target", "exchange", "target_of"]

HTTP_PORT = 80


@dataclass(frozen=True, kw_only=True)
class Target:
    host: str
    port: int
    path: str
    """With the query, as it was sent."""


def target_of(request: h11.Request, fixed: tuple[str, int] | None, default_port: int) -> Target:
    """Where a request goes: to the URL's host, or to the CONNECT's that it came through.

    Refused where its Host header names another.
    """
    text = request.target.decode("latin-1")
    if fixed is not None:
        host, port, path = *fixed, text
        if not path.startswith("/") and path != "*":
            raise Malformed("a request through CONNECT has a path, not a URL")
    else:
        url = urlsplit(text)
        if url.scheme != "http" or not url.netloc:
            raise Malformed("write http://HOST/PATH, or CONNECT for https")
        if "@" in url.netloc:
            raise Malformed("a URL with a user's name in it is not carried")
        host, port = authority(url.netloc, default_port)
        path = text[text.index("/", 7) :] if "/" in text[7:] else "/" + text[7 + len(url.netloc) :]
    for name, value in request.headers:
        if name == b"host" and authority(value.decode("latin-1"), default_port) != (host, port):
            reason = f"is asked for a page of {value.decode('latin-1')}, by the Host header"
            raise Refused(Verdict(allowed=False, rule="one host in a request", reason=reason))
    return Target(host=host, port=port, path=path)


async def exchange(
    client: Side,
    request: h11.Request,
    server: Side,
    headers: Headers,
    target: str,
    attempt: Attempt,
) -> None:
    """Send ``request`` on as ``target`` and answer with what comes back.

    Both ways at once: an answer may come before the request's body has gone, and either may wait
    for the other. Failed, or h11.RemoteProtocolError, when the answer does not come whole.
    """
    onward = h11.Request(method=request.method, target=target, headers=headers)
    await server.send(onward)
    body = asyncio.create_task(_send_body(client, server))
    try:
        await _answer(client, server, attempt)
    finally:
        body.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError, h11.ProtocolError):
            await body


async def _send_body(client: Side, server: Side) -> None:
    while True:
        event = await client.event()
        if isinstance(event, (h11.Data, h11.EndOfMessage)):
            await server.send(event)
        if not isinstance(event, h11.Data):
            return


async def _answer(client: Side, server: Side, attempt: Attempt) -> None:
    while True:
        try:
            event = await asyncio.wait_for(server.event(), IDLE_SECONDS)
        except (asyncio.TimeoutError, TimeoutError):
            raise Failed(f"said nothing for {IDLE_SECONDS:.0f} seconds", 504) from None
        if isinstance(event, h11.InformationalResponse):
            await client.send(
                h11.InformationalResponse(
                    status_code=event.status_code,
                    headers=end_to_end(event.headers),
                    reason=event.reason,
                )
            )
        elif isinstance(event, h11.Response):
            attempt.status = event.status_code
            await client.send(
                h11.Response(
                    status_code=event.status_code,
                    headers=end_to_end(event.headers),
                    reason=event.reason,
                )
            )
        elif isinstance(event, h11.Data):
            await client.send(event)
        elif isinstance(event, h11.EndOfMessage):
            await client.send(h11.EndOfMessage(headers=event.headers))
            return
        else:
            raise Failed("ended the connection without an answer")
