"""One end of an HTTP/1.1 connection, over real sockets."""

from __future__ import annotations

import asyncio
import socket

import h11
import pytest

from moat_nb.egress.options import Deadlines
from moat_nb.egress.proxy.http1 import MAX_HEAD, Http1Connection
from moat_nb.egress.proxy.streams import CHUNK, Plain

BEFORE, AFTER = b"GET / HTTP/1.1\r\nHost: a.test\r\nX: ", b"\r\n\r\n"


def request(size: int) -> bytes:
    """A request whose head has this many bytes."""
    return BEFORE + b"x" * (size - len(BEFORE) - len(AFTER)) + AFTER


def events(sent: list[bytes], begun: bytes = b"") -> list[type]:
    """Of a server's end, up to the last whole request; each of ``sent`` is read by itself."""

    async def main() -> list[type]:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        stream = Plain(reader, writer, Deadlines())
        connection = Http1Connection(stream, h11.SERVER, begun)
        found: list[type] = []

        async def read() -> None:
            while True:
                event = await connection.event()
                if isinstance(event, h11.EndOfMessage):
                    connection.http.send(h11.Response(status_code=204, headers=[]))
                    connection.http.send(h11.EndOfMessage())
                    connection.http.start_next_cycle()
                if isinstance(event, h11.ConnectionClosed):
                    return
                found.append(type(event))

        with theirs:
            theirs.setblocking(False)
            reading = asyncio.ensure_future(read())
            for piece in sent:
                await asyncio.get_running_loop().sock_sendall(theirs, piece)
                await asyncio.sleep(0)
            theirs.shutdown(socket.SHUT_WR)
            try:
                await reading
            finally:
                stream.close()
        return found

    return asyncio.run(main())


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1000, CHUNK - 1, CHUNK, 2 * CHUNK])
def test_a_head_is_as_long_as_it_may_be_however_it_is_cut(size: int) -> None:
    whole = [h11.Request, h11.EndOfMessage]
    assert events(cut(request(MAX_HEAD), size)) == whole
    with pytest.raises(h11.RemoteProtocolError, match="too long"):
        events(cut(request(MAX_HEAD + 1), size))


def test_a_long_head_that_was_read_before_or_stands_behind_another_request_is_refused() -> None:
    long = request(MAX_HEAD + 5000)
    with pytest.raises(h11.RemoteProtocolError, match="too long"):
        events([], begun=long)
    with pytest.raises(h11.RemoteProtocolError, match="too long"):
        events(cut(request(100) + long, 60_000))


def test_what_is_sent_ahead_counts_for_its_own_head_alone() -> None:
    ahead = request(MAX_HEAD - 10) * 3
    assert events(cut(ahead, 70_000)) == [h11.Request, h11.EndOfMessage] * 3
