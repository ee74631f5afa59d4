"""Resolves names, and checks whether a sandbox may reach the addresses.

A caller connects to the checked addresses themselves, so a name that resolves to another address a
moment later (DNS rebinding) changes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from moat_nb.egress.options import REACHABLE
from moat_nb.egress.policy.verdict import Failed, Refused, Verdict
from moat_nb.egress.proxy.streams import within

__all__ = ["Address", "Resolver", "why_not_public"]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

RESOLVE_SECONDS = 10.0
"""glibc gives up after 2 attempts of 5 s."""
LOOKUPS = 32
"""At once; a silent name server must not delay all other names."""

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_PUBLIC: dict[IPNetwork, str] = {
    ipaddress.ip_network(network): what
    for network, what in {
        "192.0.0.0/24": "reserved for protocols",  # newer Pythons call two of them global
        "192.88.99.0/24": "a 6to4 relay",
        "168.63.129.16/32": "the virtual machine's host on Azure",
        "2001::/23": "reserved for protocols",  # Teredo among them
        "2002::/16": "6to4, which may lead to any IPv4 address",
        "3fff::/20": "for documentation",  # RFC 9637, unknown to older Pythons
    }.items()
}
"""Networks that ``ipaddress`` calls global on some Python version, wrongly."""


@dataclass(frozen=True, kw_only=True)
class Address:
    family: socket.AddressFamily
    sockaddr: tuple[str, int] | tuple[str, int, int, int]


def why_not_public(address: IPAddress) -> str | None:
    """The kind of an address that is not of the public internet; None for a public one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            # An IPv6-only network's resolver gives these for hosts that have IPv4 alone.
            return why_not_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.ipv4_mapped is not None:
            return "an IPv4 address in disguise"
    for network, what in _NOT_PUBLIC.items():
        if address in network:
            return what
    for kind in ("loopback", "link_local", "multicast", "unspecified", "private"):
        if getattr(address, f"is_{kind}"):
            return kind.replace("_", "-")
    if not address.is_global or address.is_reserved:
        return "reserved"
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return "not of the public internet"
    return None


class Resolver:
    """``reachable``: private networks that may be reached."""

    def __init__(self, reachable: Sequence[str] = ()) -> None:
        self._reachable = tuple(ipaddress.ip_network(network) for network in reachable)
        self._pool = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int, seconds: float = RESOLVE_SECONDS
    ) -> list[Address]:
        """The addresses of ``host``, in the order of preference; Failed when there is none.

        Refused when any of them is not public: a public name has public addresses only.
        """
        addresses = await self.look_up(host, port, seconds)
        for address in addresses:
            self._check(address)
        return addresses

    async def look_up(
        self, host: str, port: int, seconds: float = RESOLVE_SECONDS
    ) -> list[Address]:
        """The same, unchecked."""
        loop = asyncio.get_running_loop()
        asked = loop.run_in_executor(self._pool, _getaddrinfo, host, port)
        late = Failed("has no address yet: the name servers do not answer", 504)
        try:
            return await within(seconds, asked, late)
        except OSError as error:
            raise Failed(f"has no address: {error.strerror or error}") from None
        except UnicodeError:
            raise Failed("is not a name that can be resolved") from None

    def _check(self, address: Address) -> None:
        parsed = ipaddress.ip_address(address.sockaddr[0].partition("%")[0])
        if ipaddress.ip_network(parsed) in self._reachable:
            return  # listed alone, which allows even one of this machine's addresses
        own = _is_own(address, parsed)
        kind = why_not_public(parsed)
        if not own and (kind is None or any(parsed in network for network in self._reachable)):
            return
        if own and kind in (None, "private"):
            kind, hint = (
                "this machine's own",
                "list the port in network.host and use $MOAT_HOST_GATEWAY",
            )
        elif kind in ("private", "reserved"):
            while_it_runs = "which moat-nb trace has while the sandbox runs"
            hint = f"if that is meant, put the address, {while_it_runs}, into {REACHABLE}"
        else:
            hint = ""
        raise Refused(
            Verdict(
                allowed=False,
                rule="public addresses only",
                reason=f"resolves to an address that may not be reached ({kind})",
                hint=hint,
                address=str(parsed),
            )
        )


def _getaddrinfo(host: str, port: int) -> list[Address]:
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    unique = {sockaddr: family for family, _, _, _, sockaddr in entries}
    return [
        Address(family=family, sockaddr=sockaddr)  # type: ignore[arg-type]
        for sockaddr, family in unique.items()
        if family in (socket.AF_INET, socket.AF_INET6)
    ]


def _is_own(address: Address, parsed: IPAddress) -> bool:
    """Whether this machine has the address: then a packet to it would also come from it. No packet
    is sent."""
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    if parsed.is_loopback or parsed.is_unspecified:
        return True  # all of 127.0.0.0/8, though packets to it come from 127.0.0.1
    try:
        with socket.socket(address.family, socket.SOCK_DGRAM) as probe:
            probe.connect(address.sockaddr)
            return bool(probe.getsockname()[0] == address.sockaddr[0])
    except OSError:
        return False  # no way there, and a connection will say so
