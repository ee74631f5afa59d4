"""Carries one HTTP request to its host, and the answer back."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import h11

from moat_nb.egress.policy.hostnames import authority
from moat_nb.egress.policy.verdict import Failed, Malformed, Refused, Verdict
from moat_nb.egress.proxy.attempt import Attempt
from moat_nb.egress.proxy.http1 import (
    SWITCH,
    WEBSOCKET,
    Headers,
    Http1Connection,
    end_to_end,
    two_frames,
    upgrades,
)
from moat_nb.egress.proxy.streams import CHUNK, within

__all__ = ["Origin", "check_host", "exchange", "path_in", "target_of"]

HTTP_PORT = 80
SCHEME = "http://"
MOST_EARLY = 1 << 17
"""Bytes kept of later requests that a sandbox sends before it has its answer."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    host: str
    port: int = HTTP_PORT
    tls: bool = False

    @property
    def default_port(self) -> int:
        return 443 if self.tls else HTTP_PORT

    @property
    def name(self) -> str:
        return self.host if self.port == self.default_port else f"{self.host}:{self.port}"


def target_of(request: h11.Request) -> tuple[Origin, str]:
    """The host of a request to a proxy, ``GET http://HOST[:PORT]/PATH``, and the path."""
    text = request.target.decode("latin-1")
    if text[: len(SCHEME)].lower() != SCHEME:
        raise Malformed("write http://HOST/PATH, or CONNECT for https")
    rest = _without_fragment(text[len(SCHEME) :])
    end = next((at for at, character in enumerate(rest) if character in "/?"), len(rest))
    host, port = authority(rest[:end], HTTP_PORT)
    path = rest[end:]
    return Origin(host=host, port=port), path if path.startswith("/") else f"/{path}"


def path_in(request: h11.Request) -> str:
    """The path of a request to the host itself, which came through CONNECT."""
    path = _without_fragment(request.target.decode("latin-1"))
    if not path.startswith("/") and (path, request.method) != ("*", b"OPTIONS"):
        raise Malformed("a request through CONNECT has a path, not a URL")
    return path


def _without_fragment(target: str) -> str:
    """Malformed for a fragment: only some servers end the path before it."""
    if "#" in target:
        raise Malformed("a request's path has no #; write %23")
    return target


def check_host(request: h11.Request, origin: Origin) -> None:
    """Refused if the Host header, which the server obeys, names another host than was judged."""
    for name, value in request.headers:
        text = value.decode("latin-1")
        if name == b"host" and authority(text, origin.default_port) != (origin.host, origin.port):
            reason = f"is asked for a page of {text}, by the Host header"
            raise Refused(Verdict(allowed=False, rule="one host in a request", reason=reason))


async def exchange(
    client: Http1Connection,
    server: Http1Connection,
    request: h11.Request,
    target: str,
    headers: Headers,
    attempt: Attempt,
) -> None:
    """Send ``request`` on as ``target``, and pass the answer back.

    Both ways run at once: an answer may come before the request's body is sent, and either may
    wait for the other. Failed for an incomplete answer, Malformed for an incomplete request.
    """
    await _offer(server, h11.Request(method=request.method, target=target, headers=headers))
    body = asyncio.create_task(_send_body(client, server))
    answer = asyncio.create_task(_answer(client, server, attempt))
    try:
        await asyncio.wait({body, answer}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            await body  # raises: only a fault of the sandbox ends it before the answer
        await answer
    finally:
        for task in (body, answer):
            task.cancel()
        await asyncio.gather(body, answer, return_exceptions=True)


async def _send_body(client: Http1Connection, server: Http1Connection) -> None:
    """Send the body, then watch for a hang-up: Malformed. Never returns."""
    try:
        while not isinstance(
            event := await client.event(), (h11.EndOfMessage, h11.ConnectionClosed)
        ):
            if isinstance(event, h11.Data):
                await _offer(server, event)
        if isinstance(event, h11.EndOfMessage):
            await _offer(server, h11.EndOfMessage())
        early = 0
        while early < MOST_EARLY and (data := await client.stream.read(CHUNK)):
            client.http.receive_data(data)  # the next request, early
            early += len(data)
        if early >= MOST_EARLY:
            await asyncio.Event().wait()  # read no more, though a hang-up goes unnoticed
    except h11.RemoteProtocolError as error:
        raise Malformed(f"the request does not come whole: {error}") from None
    raise Malformed("the sandbox hung up before the answer came")


async def _offer(server: Http1Connection, event: h11.Event) -> None:
    """Send, ignoring OSError: a server that reads no more may have answered already."""
    with contextlib.suppress(OSError):
        await server.send(event)


async def _answer(client: Http1Connection, server: Http1Connection, attempt: Attempt) -> None:
    while True:
        event = await _next(server)
        if isinstance(event, (h11.InformationalResponse, h11.Response)):
            if two_frames(event):
                raise Failed("answered with both Content-Length and Transfer-Encoding")
            switched = event.status_code == 101
            headers = end_to_end(event)
            if switched:
                _check_switch(event)
                headers += SWITCH
            if isinstance(event, h11.Response):
                attempt.status = event.status_code
            if event.status_code == 407:
                raise Failed("is not reached: the upstream proxy wants a password; see HTTPS_PROXY")
            await client.send(
                type(event)(status_code=event.status_code, headers=headers, reason=event.reason)
            )
            if switched:
                attempt.status = event.status_code
                return
        elif isinstance(event, h11.Data):
            await client.send(event)
        elif isinstance(event, h11.EndOfMessage):
            await client.send(h11.EndOfMessage())  # trailers would be headers that nobody checked
            return
        else:
            raise Failed("ended the connection without an answer")


def _check_switch(event: h11.InformationalResponse | h11.Response) -> None:
    """Allow websockets only: the bytes after a switch pass unseen, and in HTTP/2 they would be
    requests."""
    if upgrades(event) != [WEBSOCKET]:
        raise Failed("switched to another protocol than the one that it was offered")


async def _next(server: Http1Connection) -> h11.Event | type[h11.PAUSED]:
    seconds = server.stream.deadlines.idle
    late = Failed(f"said nothing for {seconds:.0f} seconds", 504)
    try:
        return await within(seconds, server.event(), late)
    except (h11.RemoteProtocolError, OSError) as error:
        raise Failed(f"did not answer as it should: {error}") from None
