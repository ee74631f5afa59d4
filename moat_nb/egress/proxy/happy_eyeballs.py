"""Connects to one of several checked addresses: happy eyeballs (RFC 8305).

asyncio's own would resolve the name again, and connect to unchecked addresses.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Sequence

from aiohappyeyeballs import start_connection

from moat_nb.egress.options import Deadlines
from moat_nb.egress.policy.verdict import Failed
from moat_nb.egress.proxy.resolver import Address
from moat_nb.egress.proxy.streams import CHUNK, Plain, within

__all__ = ["connect_first"]

HEAD_START_SECONDS = 0.25
"""Of one address over the next, RFC 8305's recommendation."""

_ERRNO = re.compile(r"\[Errno (\d+)\]")


async def connect_first(
    addresses: Sequence[Address],
    deadlines: Deadlines,
    context: ssl.SSLContext | None = None,
    name: str | None = None,
) -> Plain:
    """Connect to the first address that answers, in TLS with ``name`` if there is a ``context``.

    Failed when none does.
    """
    late = Failed(f"does not answer within {deadlines.connect:.0f} seconds", 504)
    try:
        reader, writer = await within(
            deadlines.connect, _connect(addresses, context, name if context else None), late
        )
    except OSError as error:
        raise Failed(f"cannot be reached: {_reason(error)}") from None
    return Plain(reader, writer, deadlines)


async def _connect(
    addresses: Sequence[Address], context: ssl.SSLContext | None, name: str | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = await start_connection(
        [(a.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", a.sockaddr) for a in addresses],
        happy_eyeballs_delay=HEAD_START_SECONDS,
        interleave=1,
    )
    try:
        return await asyncio.open_connection(
            sock=sock, limit=CHUNK, ssl=context, server_hostname=name
        )
    except BaseException:
        sock.close()
        raise


def _reason(error: OSError) -> str:
    """The last address's error, without the addresses: asyncio's text and the library's name them,
    and a sandbox need not learn them."""
    if isinstance(error, ssl.SSLError):
        return str(error)
    numbers = [error.errno] if error.errno else [int(n) for n in _ERRNO.findall(str(error))]
    return os.strerror(numbers[-1]) if numbers else "the connection was lost"
