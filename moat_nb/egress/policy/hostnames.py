"""Brings a sandbox's host names into one form, or refuses them. Pure."""

from __future__ import annotations

import re

from moat_nb.egress.policy.verdict import Malformed, Refused, Verdict

__all__ = ["HOST_GATEWAY", "authority", "host_name", "is_local_name"]

HOST_GATEWAY = "host.moat"
"""The host name in a CONNECT to a port of this machine that ``network.host`` lists."""

MAX_NAME = 253
"""Characters, by RFC 1035."""

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCAL_ENDS = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "private")
"""Top-level names that no public registry hands out: RFC 6761, RFC 6762, ICANN's reserved ones."""


def host_name(text: str) -> str:
    """``text`` in lower case, without a last dot; Refused for an address, in whatever notation.

    ``inet_aton`` takes a name with a number as its last label for an IPv4 address: 127.1,
    0x7f000001 and 2130706433 are all the loopback's.
    """
    name = text.lower().removesuffix(".")
    if ":" in name or name.startswith("[") or _NUMBER.fullmatch(name.rpartition(".")[2]):
        reason = "is an address, and only names can be reached"
        raise Refused(Verdict(allowed=False, rule="names only", reason=reason))
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise Malformed("the request's host is not a host name")
    return name


def authority(text: str, default_port: int | None) -> tuple[str, int]:
    """``host:port`` of a CONNECT, a URL or a Host header."""
    host, colon, port = text.rpartition(":")
    if not colon or (port.endswith("]") and text.startswith("[")):
        host, port = text, str(default_port or "")
    if not port.isascii() or not port.isdigit() or len(port) > 5 or not 0 < int(port) < 1 << 16:
        raise Malformed("the request's port is not a port")
    return host_name(host), int(port)


def is_local_name(name: str) -> bool:
    """Whether only a local resolver can know ``name``: it has one label, or a reserved last one."""
    return "." not in name or name.endswith(".home.arpa") or name.rpartition(".")[2] in _LOCAL_ENDS
