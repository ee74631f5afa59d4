"""The proxy's options, which the launcher writes to its stdin as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from ipaddress import ip_network
from typing import Any

from moat_nb.config.model import Rule
from moat_nb.egress.policy.network_policy import NetworkPolicy
from moat_nb.errors import StartError

__all__ = [
    "INSTALL",
    "REACHABLE",
    "Deadlines",
    "Interception",
    "ProxyOptions",
    "install_command",
    "needed",
    "reachable_from",
]

REACHABLE = "MOAT_NB_REACHABLE"
"""The launcher's variable for :attr:`ProxyOptions.reachable`. It is not a key of moat.yaml: a
sandbox may be able to write that file."""


@dataclass(frozen=True, kw_only=True)
class Interception:
    """The authority that the sandbox trusts; see :mod:`moat_nb.egress.proxy.interception`."""

    certificate: str
    """Path of its certificate (PEM), which the sandbox gets."""
    key: str
    """Path of its private key (PEM, 0600), which the sandbox never gets."""


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Seconds; only tests change them."""

    connect: float = 20.0
    """For all addresses of a host together."""
    head: float = 60.0
    """For a whole request head to arrive, and for a connection to wait for one."""
    idle: float = 1800.0
    """How long both ends may be silent, or one may read nothing of its data. A server may take
    minutes to answer."""


@dataclass(frozen=True, kw_only=True)
class ProxyOptions:
    listen_fd: int
    """A listening unix socket, inherited."""
    network: NetworkPolicy
    upstream: str | None = field(default=None, repr=False)
    """The launcher's own proxy, ``http://user:password@proxy.example.com:3128``."""
    trust: str | None = None
    """Path of the authorities (PEM) for an ``https://`` upstream and for intercepted hosts; None:
    OpenSSL's own."""
    no_proxy: str = ""
    """Hosts reached without ``upstream``, in the format of the environment variable."""
    records: str
    """Path of the request log (JSON lines), made or continued; see ``records.py``."""
    limit: int
    """Bytes of the request log, including the older part."""
    intercept: Interception | None = None
    reachable: tuple[str, ...] = ()
    """Private networks, such as ``10.1.2.0/24``, that may be reached."""
    deadlines: Deadlines = Deadlines()

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> ProxyOptions:
        """Trusts its author, the launcher; KeyError or TypeError for fields that do not fit."""
        fields: dict[str, Any] = json.loads(line)
        intercept = fields.get("intercept")
        fields.update(
            network=NetworkPolicy.parse(fields["network"]),
            intercept=intercept and Interception(**intercept),
            no_proxy=fields.get("no_proxy") or "",
            reachable=tuple(fields.get("reachable", ())),
            deadlines=Deadlines(**fields.get("deadlines", {})),
        )
        return cls(**fields)


def reachable_from(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The networks of ``MOAT_NB_REACHABLE``, separated by commas; StartError for a bad one."""
    networks = []
    for network in environ.get(REACHABLE, "").replace(",", " ").split():
        try:
            networks.append(str(ip_network(network)))
        except ValueError as error:
            raise StartError(f"{REACHABLE}: {error}; write networks such as 10.1.2.0/24") from None
    return tuple(networks)


INSTALL = "pip install 'moat-nb[intercept]'"


def needed(rules: Iterable[Rule]) -> bool:
    """Whether a rule names methods or paths: TLS hides those, so it must be intercepted."""
    return any(rule.lines for rule in rules)


def install_command() -> str | None:
    """The command that installs what ``proxy/interception.py`` needs; None if installed."""
    return None if find_spec("cryptography") else INSTALL
