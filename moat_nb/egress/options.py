"""What the launcher tells the proxy at its start: one line of JSON on its stdin."""

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
    "missing",
    "needed",
    "reachable_from",
]

REACHABLE = "MOAT_NB_REACHABLE"
"""The launcher's variable for :attr:`ProxyOptions.reachable`. It is no key of moat.yaml, which a
sandbox may be able to write."""


@dataclass(frozen=True, kw_only=True)
class Interception:
    """The authority whose certificates the sandbox trusts; see :mod:`moat_nb.egress.options`."""

    certificate: str
    """Path of its certificate (PEM), which is given into the sandbox."""
    key: str
    """Path of its private key (PEM, 0600), which never is."""


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Seconds; only tests ask for others."""

    connect: float = 20.0
    """For all addresses of a host together."""
    head: float = 60.0
    """How long a request's head may take to come whole, and how long a connection waits for one."""
    idle: float = 1800.0
    """How long neither side may say a word, or one may take nothing of what it is told. A server
    may think for minutes about its answer."""


@dataclass(frozen=True, kw_only=True)
class ProxyOptions:
    listen_fd: int
    """A listening unix socket, inherited."""
    network: NetworkPolicy
    upstream: str | None = field(default=None, repr=False)
    """``http://user:password@proxy.example.com:3128`` through which everything goes."""
    trust: str | None = None
    """Path of the authorities (PEM) that vouch for an ``https://`` upstream, and for hosts whose
    TLS is opened; None: OpenSSL's own."""
    no_proxy: str = ""
    """Hosts that are reached without ``upstream``, as in the environment variable."""
    records: str
    """Path of the file of JSON lines that is made or continued; see ``records.py``."""
    limit: int
    """Bytes of it, the older part included."""
    intercept: Interception | None = None
    reachable: tuple[str, ...] = ()
    """Networks such as ``10.1.2.0/24`` that may be reached although they are not public."""
    deadlines: Deadlines = Deadlines()

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> ProxyOptions:
        """Trusts its author, the launcher; KeyError or TypeError when they do not fit together."""
        given: dict[str, Any] = json.loads(line)
        intercept = given.get("intercept")
        given.update(
            network=NetworkPolicy.parse(given["network"]),
            intercept=intercept and Interception(**intercept),
            no_proxy=given.get("no_proxy") or "",
            reachable=tuple(given.get("reachable", ())),
            deadlines=Deadlines(**given.get("deadlines", {})),
        )
        return cls(**given)


def reachable_from(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The networks of ``MOAT_NB_REACHABLE``, separated by commas; StartError where one is none."""
    found = []
    for word in environ.get(REACHABLE, "").replace(",", " ").split():
        try:
            found.append(str(ip_network(word)))
        except ValueError as error:
            raise StartError(f"{REACHABLE}: {error}; write networks such as 10.1.2.0/24") from None
    return tuple(found)


INSTALL = "pip install 'moat-nb[intercept]'"


def needed(rules: Iterable[Rule]) -> bool:
    """A method and a path are hidden by TLS; of a host whose rules name none, nothing is opened."""
    return any(rule.lines for rule in rules)


def missing() -> str | None:
    """The command that installs what ``authority.py`` needs; None where it is there."""
    return None if find_spec("cryptography") else INSTALL
