"""Byte streams, and the carrying of bytes between two of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from moat_nb.egress.options import Deadlines
from moat_nb.egress.policy.verdict import Failed

__all__ = ["CHUNK", "Plain", "Stream", "carry", "within"]

T = TypeVar("T")

CHUNK = 1 << 16
"""Bytes; a stream holds a few of them at most, and its sender waits."""
LINGER_SECONDS = 2.0
LINGER_BYTES = 1 << 20


async def within(seconds: float, awaited: Awaitable[T], late: Exception) -> T:
    """Await for at most ``seconds``, then raise ``late``."""
    try:
        return await asyncio.wait_for(awaited, seconds)
    except (asyncio.TimeoutError, TimeoutError):  # one and the same from Python 3.11 on
        raise late from None


class Stream(Protocol):
    @property
    def deadlines(self) -> Deadlines: ...

    async def read(self, size: int) -> bytes:
        """Empty at the end; OSError when the connection broke."""

    async def write(self, data: bytes) -> None:
        """Returns when the other end has read enough for more to be sent; OSError if that takes
        too long."""

    async def end(self) -> None:
        """Write no more; reading goes on where the stream can do that."""

    @property
    def touched(self) -> float:
        """When bytes last went either way, on the loop's clock."""


class Plain:
    """A socket's stream, with counts of the bytes each way."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        deadlines: Deadlines,
    ) -> None:
        self.deadlines = deadlines
        self._reader = reader
        self._writer = writer
        self.sent = 0
        self.received = 0
        self._touched = asyncio.get_running_loop().time()

    @property
    def touched(self) -> float:
        return self._touched

    async def read(self, size: int) -> bytes:
        data = await self._reader.read(size)
        self.received += len(data)
        self._touch()
        return data

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        self.sent += len(data)
        if self._writer.transport.get_write_buffer_size() > CHUNK:
            await within(self.deadlines.idle, self._writer.drain(), self._stuck())
        else:  # as a rule, and without the price of a deadline
            await self._writer.drain()
        self._touch()

    def _stuck(self) -> OSError:
        return TimeoutError(f"nothing was taken for {self.deadlines.idle:.0f} seconds")

    async def end(self) -> None:
        if self._writer.can_write_eof():
            with contextlib.suppress(OSError):
                self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    async def linger(self) -> None:
        """Close, and wait until the other end has read everything. Bytes under way are read
        before, or the kernel would reset the connection and the other end lose the last answer."""
        await self.end()
        with contextlib.suppress(OSError):
            await within(LINGER_SECONDS, self._drop(LINGER_BYTES), TimeoutError())
        self.close()
        try:
            await within(self.deadlines.idle, self._writer.wait_closed(), self._stuck())
        except OSError:
            self.abort()

    async def _drop(self, most: int) -> None:
        while most > 0 and (data := await self.read(CHUNK)):
            most -= len(data)

    def abort(self) -> None:
        """Reset, so that the other end takes nothing for complete."""
        self._writer.transport.abort()

    def _touch(self) -> None:
        self._touched = asyncio.get_running_loop().time()


async def carry(one: Stream, other: Stream) -> None:
    """Carry both ways until both have ended; Failed when no byte moves for too long, even if one
    way has ended."""
    ways = [
        asyncio.ensure_future(_one_way(one, other)),
        asyncio.ensure_future(_one_way(other, one)),
    ]
    going, most = set(ways), one.deadlines.idle
    try:
        while going:
            idle = asyncio.get_running_loop().time() - max(one.touched, other.touched)
            if idle >= most:
                raise Failed(f"nothing was said for {most:.0f} seconds", 504)
            done, going = await asyncio.wait(
                going, timeout=most - idle, return_when=asyncio.FIRST_EXCEPTION
            )
            for way in done:
                way.result()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _one_way(source: Stream, target: Stream) -> None:
    while data := await source.read(CHUNK):
        await target.write(data)
    await target.end()
