"""One side of an HTTP/1.1 conversation: a stream, read and written by h11."""

from __future__ import annotations

from collections.abc import Iterable

import h11

from moat_nb.egress.records import printable
from moat_nb.egress.streams import CHUNK, Stream
from moat_nb.egress.verdict import Ended, Failed

__all__ = ["HEAD_SECONDS", "Headers", "Side", "end_to_end"]

MAX_HEAD = 1 << 16
"""Bytes of a request's or a response's first line and headers; nginx takes 32 KiB."""
MAX_PHRASE = 1000
"""Characters of a refusal's first line; Python's http.client takes lines of 64 KiB."""
HEAD_SECONDS = 60.0
"""How long a request's head may take to come whole, and how long a connection waits for one."""

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te"
    b" upgrade".split()
)
"""RFC 9110, section 7.6.1. ``Transfer-Encoding`` h11 keeps and sets by itself."""


class Side:
    """``begun``: what was read from the stream already."""

    def __init__(
        self, stream: Stream, role: type[h11.CLIENT] | type[h11.SERVER], begun: bytes = b""
    ) -> None:
        self.stream = stream
        self.http = h11.Connection(role, max_incomplete_event_size=MAX_HEAD)
        if begun:
            self.http.receive_data(begun)

    async def event(self) -> h11.Event | type[h11.PAUSED]:
        """The next one; h11.RemoteProtocolError for what is not HTTP."""
        while True:
            event = self.http.next_event()
            if event is h11.PAUSED or isinstance(event, h11.Event):
                return event
            self.http.receive_data(await self.stream.read(CHUNK))

    async def send(self, event: h11.Event) -> None:
        data = self.http.send(event)
        if data:
            await self.stream.write(data)

    async def answer(self, ended: Ended, words: str) -> bool:
        """Say why not, in the reason phrase (which pip, requests and curl show) and in the body;
        False when an answer has already begun."""
        if self.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return False
        phrase = printable(words, MAX_PHRASE).encode()
        body = phrase + b"\n"
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        response = h11.Response(status_code=ended.status, headers=headers, reason=phrase)
        await self.send(response)
        await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())
        return True


def end_to_end(headers: Iterable[tuple[bytes, bytes]], *, upgrade: bool = False) -> Headers:
    """Those that are passed on: without the ones that mean this connection alone.

    With both a Content-Length and a Transfer-Encoding, two readers may see two messages where one
    is (request smuggling): Failed.
    """
    given = [(name.lower(), value) for name, value in headers]
    names = {name for name, _ in given}
    if {b"content-length", b"transfer-encoding"} <= names:
        raise Failed("both Content-Length and Transfer-Encoding are given")
    listed = {
        token.strip().lower()
        for name, value in given
        if name == b"connection"
        for token in value.split(b",")
    }
    # A message's frame cannot be taken away from it by naming it.
    drop = _HOP_BY_HOP | (listed - {b"content-length", b"transfer-encoding", b"host"})
    kept = [(name, value) for name, value in given if name not in drop]
    if upgrade:
        kept += [(name, value) for name, value in given if name == b"upgrade"]
    return kept
