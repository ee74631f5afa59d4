"""Streams over real sockets, and the carrying between two of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from moat_nb.egress.options import Deadlines
from moat_nb.egress.policy.verdict import Failed
from moat_nb.egress.proxy.streams import CHUNK, Plain, carry, within

Ends = tuple[Plain, socket.socket]


async def pair(deadlines: Deadlines) -> Ends:
    """A stream, and the socket at its other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    return Plain(reader, writer, deadlines), theirs


def carried(
    act: Callable[[Ends, Ends, asyncio.Future[None]], Awaitable[None]],
    deadlines: Deadlines | None = None,
) -> None:
    """Have ``act`` use both ends of what is carried between."""

    async def main() -> None:
        one, other = await pair(deadlines or Deadlines()), await pair(deadlines or Deadlines())
        carrying = asyncio.ensure_future(carry(one[0], other[0]))
        try:
            await act(one, other, carrying)
        finally:
            for stream, theirs in (one, other):
                stream.close()
                theirs.close()
            await asyncio.gather(carrying, return_exceptions=True)

    asyncio.run(main())


async def everything(theirs: socket.socket) -> bytes:
    data = b""
    while more := await asyncio.get_running_loop().sock_recv(theirs, CHUNK):
        data += more
    return data


def test_both_ways_are_carried_and_counted_and_the_end_of_one_leaves_the_other() -> None:
    question, answer = b"q" * 3 * CHUNK, b"a" * 5 * CHUNK

    async def act(one: Ends, other: Ends, carrying: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        asking = asyncio.ensure_future(loop.sock_sendall(one[1], question))
        heard = b""
        while len(heard) < len(question):
            heard += await loop.sock_recv(other[1], CHUNK)
        await asking
        assert heard == question
        one[1].shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(other[1], CHUNK) == b""
        answering = asyncio.ensure_future(loop.sock_sendall(other[1], answer))
        reading = asyncio.ensure_future(everything(one[1]))
        await answering
        assert not carrying.done()
        other[1].shutdown(socket.SHUT_WR)
        assert await reading == answer
        await carrying
        assert (one[0].received, one[0].sent) == (len(question), len(answer))
        assert (other[0].received, other[0].sent) == (len(answer), len(question))

    carried(act)


def test_two_that_say_nothing_for_too_long_have_failed() -> None:
    async def act(one: Ends, other: Ends, carrying: asyncio.Future[None]) -> None:
        with pytest.raises(Failed, match="nothing was said for") as caught:
            await carrying
        assert caught.value.status == 504

    carried(act, Deadlines(idle=0.05))


def test_one_that_takes_nothing_breaks_the_carrying() -> None:
    """It holds what it is sent: what fills the sockets is not kept in memory without end."""

    async def act(one: Ends, other: Ends, carrying: asyncio.Future[None]) -> None:
        flood = asyncio.ensure_future(
            asyncio.get_running_loop().sock_sendall(one[1], bytes(64 << 20))
        )
        with pytest.raises((Failed, TimeoutError), match=r"nothing was (taken|said) for"):
            await carrying
        assert one[0].received < 16 << 20
        flood.cancel()
        await asyncio.gather(flood, return_exceptions=True)

    carried(act, Deadlines(idle=0.2))


def test_what_is_late_is_told_in_the_callers_own_words() -> None:
    async def main() -> None:
        with pytest.raises(Failed, match="too late"):
            await within(0.01, asyncio.Event().wait(), Failed("too late"))
        assert await within(60, asyncio.sleep(0, "in time"), Failed("too late")) == "in time"

    asyncio.run(main())
