"""The way to a host: to an address of it that was checked, or through the launcher's own proxy."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from moat_nb.egress.addresses import Address, Resolver
from moat_nb.egress.streams import CHUNK, Plain
from moat_nb.egress.verdict import Failed

__all__ = ["Dialer"]

CONNECT_SECONDS = 20.0
HEAD_START_SECONDS = 0.25
"""Of one address over the next, by RFC 8305."""


class Dialer:
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def connect(self, host: str, port: int) -> Plain:
        """A stream to the host itself; Refused or Failed."""
        return await connect_first(await self._resolver.resolve(host, port))


async def connect_first(addresses: Sequence[Address]) -> Plain:
    """Connect to whichever answers first, each with a head start over the next, families in
    turns."""
    tries: list[asyncio.Task[Plain]] = []
    left = _in_turns(addresses)
    errors: list[OSError] = []
    deadline = asyncio.get_running_loop().time() + CONNECT_SECONDS
    try:
        while left or tries:
            if left:
                tries.append(asyncio.create_task(_connect(left.pop(0))))
            seconds = deadline - asyncio.get_running_loop().time()
            wait = min(HEAD_START_SECONDS, seconds) if left else seconds
            done, _ = await asyncio.wait(
                tries, timeout=max(wait, 0), return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                tries.remove(task)
                error = task.exception()
                if error is None:
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                errors.append(error)
            if seconds <= 0:
                raise Failed(f"does not answer within {CONNECT_SECONDS:.0f} seconds", 504)
        reason = errors[-1].strerror if errors else "it has no address"
        raise Failed(f"cannot be reached: {reason or errors[-1]}")
    finally:
        for task in tries:
            task.cancel()
        for made in await asyncio.gather(*tries, return_exceptions=True):
            if isinstance(made, Plain):
                made.close()


async def _connect(address: Address) -> Plain:
    loop = asyncio.get_running_loop()
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, address.sockaddr)
        reader, writer = await asyncio.open_connection(sock=sock, limit=CHUNK)
    except BaseException:
        sock.close()
        raise
    return Plain(reader, writer)


def _in_turns(addresses: Sequence[Address]) -> list[Address]:
    """The preferred family's first, then one of the other, and so on."""
    first = [a for a in addresses if a.family == addresses[0].family]
    second = [a for a in addresses if a.family != addresses[0].family]
    mixed: list[Address] = []
    while first or second:
        mixed += [*first[:1], *second[:1]]
        del first[:1], second[:1]
    return mixed
