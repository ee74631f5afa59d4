"""One end of an HTTP/1.1 connection: a stream, read and written by h11."""

from __future__ import annotations

import h11

from moat_nb.egress.policy.verdict import Ended
from moat_nb.egress.proxy.streams import CHUNK, Stream
from moat_nb.egress.records import printable

__all__ = [
    "SWITCH",
    "WEBSOCKET",
    "Headers",
    "Http1Connection",
    "Message",
    "end_to_end",
    "has_body",
    "two_frames",
    "upgrades",
]

MAX_HEAD = 1 << 16
"""Bytes of a request's or a response's first line and headers; nginx takes 32 KiB."""
MAX_PHRASE = 1000
"""Characters of a refusal's first line; Python's http.client takes lines of 64 KiB."""

Headers = list[tuple[bytes, bytes]]
Message = h11.Request | h11.InformationalResponse | h11.Response

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te"
    b" trailer upgrade http2-settings".split()
)
"""RFC 9110, section 7.6.1, and RFC 7540, section 3.2.1; trailers are not passed on.
``Transfer-Encoding`` h11 keeps and sets by itself."""

WEBSOCKET = b"websocket"
SWITCH: Headers = [(b"connection", b"Upgrade"), (b"upgrade", WEBSOCKET)]
"""The headers for a switch to websockets, in either direction."""


class Http1Connection:
    """``begun``: bytes already read from the stream."""

    def __init__(
        self, stream: Stream, role: type[h11.CLIENT] | type[h11.SERVER], begun: bytes = b""
    ) -> None:
        self.stream = stream
        self.http = h11.Connection(role, max_incomplete_event_size=MAX_HEAD)
        if begun:
            self.http.receive_data(begun)

    async def event(self) -> h11.Event | type[h11.PAUSED]:
        """The next event; h11.RemoteProtocolError for malformed HTTP."""
        heading = self.http.their_state in (h11.IDLE, h11.SEND_RESPONSE)
        taken = self._waiting() if heading else 0
        while True:
            event = self.http.next_event()
            if isinstance(event, (h11.Request, h11.InformationalResponse, h11.Response)):
                self._check_head(taken)
            if event is h11.PAUSED or isinstance(event, h11.Event):
                return event
            data = await self.stream.read(CHUNK)
            taken += len(data)
            self.http.receive_data(data)

    def _waiting(self) -> int:
        """Bytes that were received and are not read yet."""
        return len(self.http.trailing_data[0])

    def _check_head(self, taken: int) -> None:
        """h11 looks at the size of a head that is not whole yet only, so that what passes would be
        up to how it was cut."""
        if taken - self._waiting() > MAX_HEAD:
            raise h11.RemoteProtocolError("head too long", error_status_hint=431)

    async def send(self, event: h11.Event) -> None:
        data = self.http.send(event)
        if data:
            await self.stream.write(data)

    async def answer(self, ended: Ended, text: str) -> bool:
        """Send ``text`` in the reason phrase (which pip, requests and curl show) and in the body;
        False when an answer has already begun."""
        if self.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return False
        phrase = printable(text, MAX_PHRASE).encode()
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


def two_frames(message: Message) -> bool:
    """Whether readers may disagree about the message's end (request smuggling)."""
    return {b"content-length", b"transfer-encoding"} <= {name for name, _ in message.headers}


def has_body(request: h11.Request) -> bool:
    frame = dict(request.headers)
    return b"transfer-encoding" in frame or frame.get(b"content-length", b"0") != b"0"


def upgrades(message: Message) -> list[bytes]:
    """The protocols that a request offers to switch to, or an answer switches to."""
    return _tokens(message, b"upgrade")


def end_to_end(message: Message) -> Headers:
    """The headers to pass on, as written, without those for this connection only."""
    listed = set(_tokens(message, b"connection"))
    # A Connection header must not remove the message's framing or host.
    drop = _HOP_BY_HOP | (listed - {b"content-length", b"transfer-encoding", b"host"})
    return [
        (name, value) for name, value in message.headers.raw_items() if name.lower() not in drop
    ]


def _tokens(message: Message, header: bytes) -> list[bytes]:
    """The tokens of all headers of this name; each header may have several."""
    values = (value for name, value in message.headers if name == header)
    return [token.strip().lower() for value in values for token in value.split(b",")]
