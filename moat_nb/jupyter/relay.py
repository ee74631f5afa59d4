"""Bytes carried from a client's TCP port to a kernel's unix socket, and back.

Nothing of them is looked at, so signatures and encryption stay between client and kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

__all__ = ["Relay"]

CHUNK = 1 << 16
CONNECT_SECONDS = 30.0
"""How long a slow kernel may take to bind its sockets, once a client has connected."""


class Relay:
    """One port's. It ends with all its connections: a client that found it after its kernel had
    gone would otherwise wait for a socket that never comes, and miss the next kernel's relay."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, given: Mapping[str, Any], port: str, path: str) -> Relay:
        """Listen where the connection info ``given`` has ``port``; OSError when that is taken."""
        relay = cls(path)
        if given["transport"] == "ipc":
            address = f"{given['ip']}-{given[port]}"
            relay._server = await asyncio.start_unix_server(relay._connected, address)
        else:
            relay._server = await asyncio.start_server(relay._connected, given["ip"], given[port])
        return relay

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            inside, outside = await _connect_when_there(self._path)
            await asyncio.gather(_carry(reader, outside), _carry(inside, writer))
        except (OSError, asyncio.CancelledError):
            pass  # the kernel never came, or the relay is being closed
        finally:
            writer.close()
            self._connections.discard(task)


async def _connect_when_there(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    give_up = loop.time() + CONNECT_SECONDS
    while True:
        try:
            return await asyncio.open_unix_connection(path, limit=CHUNK)
        except (FileNotFoundError, ConnectionRefusedError):
            if loop.time() > give_up:
                raise
        await asyncio.sleep(0.01)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()
