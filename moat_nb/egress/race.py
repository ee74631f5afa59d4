"""Connecting to one of several addresses: happy eyeballs (RFC 8305) over a list that was checked.

asyncio's own resolves the name once more, so that what it connects to was not checked.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence

from moat_nb.egress.addresses import Address
from moat_nb.egress.order import Deadlines
from moat_nb.egress.streams import CHUNK, Plain, within
from moat_nb.egress.verdict import Failed

__all__ = ["connect_first"]

HEAD_START_SECONDS = 0.25
"""Of one address over the next, RFC 8305's recommendation."""


async def connect_first(
    addresses: Sequence[Address],
    deadlines: Deadlines,
    context: ssl.SSLContext | None = None,
    name: str | None = None,
) -> Plain:
    """Connect to whichever answers first, in TLS with ``name`` where a ``context`` is given.

    Failed when none does.
    """
    race = _Race(deadlines, context, name if context else None)
    late = Failed(f"does not answer within {deadlines.connect:.0f} seconds", 504)
    try:
        return await within(deadlines.connect, race.run(_in_turns(addresses)), late)
    finally:
        await race.end()


class _Race:
    def __init__(
        self, deadlines: Deadlines, context: ssl.SSLContext | None, name: str | None
    ) -> None:
        self._deadlines = deadlines
        self._context = context
        self._name = name
        self._running: set[asyncio.Task[Plain]] = set()

    async def run(self, addresses: list[Address]) -> Plain:
        error: BaseException | None = None
        while addresses or self._running:
            if addresses:
                self._running.add(asyncio.create_task(self._connect(addresses.pop(0))))
            done, self._running = await asyncio.wait(
                self._running,
                timeout=HEAD_START_SECONDS if addresses else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                if error := task.exception():
                    continue
                self._running |= done - {task}  # another that won in the same moment: see end()
                return task.result()
        raise Failed(f"cannot be reached: {_reason(error)}")

    async def end(self) -> None:
        """Drop those that have not won, connected in the last moment or not."""
        for task in self._running:
            task.cancel()
        for late in await asyncio.gather(*self._running, return_exceptions=True):
            if isinstance(late, Plain):
                late.close()

    async def _connect(self, address: Address) -> Plain:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
            reader, writer = await asyncio.open_connection(
                sock=sock, limit=CHUNK, ssl=self._context, server_hostname=self._name
            )
        except BaseException:
            sock.close()
            raise
        return Plain(reader, writer, self._deadlines)


def _reason(error: BaseException | None) -> str:
    # asyncio's own text names the address, which a sandbox need not learn.
    if isinstance(error, ssl.SSLError) or not isinstance(error, OSError) or not error.errno:
        return str(error)
    return os.strerror(error.errno)


def _in_turns(addresses: Sequence[Address]) -> list[Address]:
    """The preferred family's first, then one of the other, and so on."""
    same = [address for address in addresses if address.family == addresses[0].family]
    other = [address for address in addresses if address.family != addresses[0].family]
    mixed: list[Address] = []
    while same or other:
        mixed += [*same[:1], *other[:1]]
        del same[:1], other[:1]
    return mixed
