"""Connecting to one of several addresses: happy eyeballs (RFC 8305) over a list that was checked.

asyncio's own resolves the name once more, so that what it connects to was not checked.
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
    """Connect to whichever answers first, in TLS with ``name`` where a ``context`` is given.

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
    """Of several that differ, the last address's. asyncio's own text, and with several addresses
    the library's, names them, which a sandbox need not learn."""
    if isinstance(error, ssl.SSLError):
        return str(error)
    numbers = [error.errno] if error.errno else [int(n) for n in _ERRNO.findall(str(error))]
    return os.strerror(numbers[-1]) if numbers else "the connection was lost"
