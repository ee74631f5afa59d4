"""Reads and judges a sandbox's first bytes after a CONNECT, before the host gets any."""

from __future__ import annotations

import re

from moat_nb.egress.policy.hostnames import host_name
from moat_nb.egress.policy.verdict import Ended, Failed, Refused, Verdict
from moat_nb.egress.proxy.client_hello import HANDSHAKE, server_name
from moat_nb.egress.proxy.streams import CHUNK, Plain, within

__all__ = ["ACCESS_DENIED", "sniff"]

_HTTP = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]\r?\n")
_MAX_LINE = 1 << 14
ACCESS_DENIED = bytes.fromhex("15030300020231")
"""A TLS alert, fatal (2), access_denied (49), which clients report as such."""


async def sniff(client: Plain, begun: bytes, host: str) -> tuple[bytes, bool]:
    """The bytes read so far, and whether they are TLS; if not, they are an HTTP request.

    Refused for anything else, and for TLS to another host. So mail, SSH and databases do not pass.
    """
    late = Failed("was connected to, and the sandbox said nothing", 504)
    return await within(client.deadlines.head, _sniff(client, begun, host), late)


async def _sniff(client: Plain, begun: bytes, host: str) -> tuple[bytes, bool]:
    begun = begun or await _more(client)
    if begun[0] != HANDSHAKE:
        return await _http(client, begun), False
    try:
        while (name := server_name(begun)) is None:
            begun += await _more(client)
        _check_name(name, host)
    except Ended:
        await client.write(ACCESS_DENIED)
        raise
    return begun, True


async def _http(client: Plain, begun: bytes) -> bytes:
    while begun[:1].isupper() and b"\n" not in begun and len(begun) < _MAX_LINE:
        begun += await _more(client)
    if not _HTTP.match(begun):
        reason = "is spoken to in neither TLS nor HTTP"
        hint = "set network.policy to bridge for other protocols"
        raise Refused(Verdict(allowed=False, rule="HTTP or TLS only", reason=reason, hint=hint))
    return begun


def _check_name(name: str, host: str) -> None:
    if not name or host_name(name) != host:
        reason = f"is asked for {name or 'no host by name'} inside TLS"
        raise Refused(Verdict(allowed=False, rule="one host in a request", reason=reason))


async def _more(client: Plain) -> bytes:
    more = await client.read(CHUNK)
    if not more:
        raise Failed("was connected to, and the sandbox hung up")
    return more
