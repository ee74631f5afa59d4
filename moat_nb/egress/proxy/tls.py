"""TLS over a stream whose first bytes were already read; asyncio's own cannot take them back."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import TypeVar

from moat_nb.egress.options import Deadlines
from moat_nb.egress.proxy.streams import CHUNK, Plain

__all__ = ["Tls"]

T = TypeVar("T")


class Tls:
    """For one reader and one writer at a time; ssl.SSLError, an OSError, for malformed TLS."""

    def __init__(
        self,
        below: Plain,
        context: ssl.SSLContext,
        *,
        begun: bytes = b"",
        server_hostname: str | None = None,
    ) -> None:
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._incoming.write(begun)
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )

    async def handshake(self) -> None:
        await self._do(self._tls.do_handshake)

    async def read(self, size: int) -> bytes:
        try:
            data = await self._do(lambda: self._tls.read(size))
        except ssl.SSLZeroReturnError:
            return b""
        # A record has 16 KiB at most, and passing it on costs more than decrypting it.
        with contextlib.suppress(ssl.SSLError):  # the next read meets it again
            while len(data) < size and (more := self._tls.read(size - len(data))):
                data += more
        return data

    async def write(self, data: bytes) -> None:
        await self._do(lambda: self._tls.write(data))

    async def end(self) -> None:
        """End the TLS session too, or the other end takes the data for cut off."""
        with contextlib.suppress(ssl.SSLError):  # the other side has not said so yet
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            await self._flush()
        await self._below.end()

    @property
    def deadlines(self) -> Deadlines:
        return self._below.deadlines

    @property
    def touched(self) -> float:
        return self._below.touched

    async def _do(self, act: Callable[[], T]) -> T:
        while True:
            try:
                done = act()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._below.read(CHUNK)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            except ssl.SSLError:
                await self._flush()  # the alert that says why
                raise
            else:
                await self._flush()
                return done

    async def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            await self._below.write(data)
