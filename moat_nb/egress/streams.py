"""Byte streams: plain ones, ones in TLS, and what carries bytes from one to another."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from moat_nb.egress.verdict import Failed

__all__ = ["CHUNK", "IDLE_SECONDS", "Plain", "Stream", "carry"]

CHUNK = 1 << 16
"""Bytes; a stream holds a few of them at most, and its sender waits."""
IDLE_SECONDS = 1800.0
"""How long neither side may say a word. A server may think for minutes about its answer."""
LINGER_SECONDS = 2.0
LINGER_BYTES = 1 << 20


class Stream(Protocol):
    async def read(self, size: int) -> bytes:
        """Empty at the end; OSError when the connection broke."""

    async def write(self, data: bytes) -> None:
        """Returns when the other side has taken enough for more to be sent."""

    async def end(self) -> None:
        """Write no more; reading goes on where the stream can do that."""

    @property
    def touched(self) -> float:
        """When bytes last went either way, on the loop's clock."""


class Plain:
    """A socket's, with counts of the bytes that went each way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
        await self._writer.drain()
        self._touch()

    async def end(self) -> None:
        if self._writer.can_write_eof():
            with contextlib.suppress(OSError):
                self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    async def linger(self) -> None:
        """Take what is still on its way before closing, or the kernel resets the connection and
        what was said last is lost to who is still sending."""
        await self.end()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._drop(LINGER_BYTES), LINGER_SECONDS)

    async def _drop(self, most: int) -> None:
        while most > 0 and (data := await self.read(CHUNK)):
            most -= len(data)

    def abort(self) -> None:
        """Close it so that nobody takes what came for the whole."""
        self._writer.transport.abort()

    def _touch(self) -> None:
        self._touched = asyncio.get_running_loop().time()


async def carry(one: Stream, other: Stream) -> None:
    """Both ways until both have ended; Failed when neither says a word for IDLE_SECONDS."""
    ways = [
        asyncio.ensure_future(_one_way(one, other)),
        asyncio.ensure_future(_one_way(other, one)),
    ]
    try:
        while True:
            idle = asyncio.get_running_loop().time() - max(one.touched, other.touched)
            left = max(IDLE_SECONDS - idle, 1)
            done, _ = await asyncio.wait(ways, timeout=left, return_when=asyncio.FIRST_EXCEPTION)
            if len(done) == len(ways) or any(way.exception() for way in done):
                for way in done:
                    way.result()
                return
            if not done and idle >= IDLE_SECONDS:
                raise Failed(f"nothing was said for {IDLE_SECONDS:.0f} seconds", 504)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _one_way(source: Stream, target: Stream) -> None:
    while data := await source.read(CHUNK):
        await target.write(data)
    await target.end()
