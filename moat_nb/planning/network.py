"""What ``network:`` of a moat.yaml means for a sandbox, as values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from moat_nb.config.model import Config
from moat_nb.egress.options import install_command, needed
from moat_nb.egress.policy.hostnames import HOST_GATEWAY
from moat_nb.egress.policy.network_policy import NetworkPolicy
from moat_nb.errors import Problem
from moat_nb.guest.settings import PortForward
from moat_nb.host.run_directory import CERTIFICATES, PROXY_SOCKET

__all__ = [
    "BUNDLE",
    "HOSTNAME",
    "PLACE",
    "PROXY",
    "PROXY_PORT",
    "NetworkPlan",
    "has_certificates",
    "intercepts",
    "notice",
    "plan_network",
    "port_forwards",
    "proxy_variables",
    "trust_variables",
    "way_out_variables",
]

PLACE = "/run/moat/network"
"""Inside, read-only: the proxy's socket, and the certificates."""

PROXY = f"{PLACE}/{PROXY_SOCKET}"

SHOWN_HOSTS = 3


@dataclass(frozen=True, kw_only=True)
class NetworkPlan:
    """All that a kernel's spec takes from ``network:``; of no use where there are problems."""

    network: Literal["none", "bridge"]
    """The engine's."""
    egress: NetworkPolicy | None
    """What may be reached through the proxy; a sandbox without it has no proxy."""
    trust: tuple[str, ...]
    """Host files with certificates, where there is a way out that they are of use for."""
    port_forwards: tuple[PortForward, ...]
    env: tuple[tuple[str, str], ...]
    """The variables by which programs inside find the way out."""
    notices: tuple[str, ...]
    problems: tuple[Problem, ...]


def plan_network(config: Config, *, trust: tuple[str, ...]) -> NetworkPlan:
    """``trust``: the files with the certificates that this machine trusts."""
    bridged = config.network.policy == "bridge"
    egress = _policy(config)
    trusted = trust if bridged or egress is not None else ()
    services = (service.name for service in config.wanted_services)
    return NetworkPlan(
        network="bridge" if bridged else "none",
        egress=egress,
        trust=trusted,
        port_forwards=port_forwards(egress),
        env=tuple(way_out_variables(egress, trusted, services).items()),
        notices=(notice(config, egress),),
        problems=tuple(_problems(config)),
    )


def _policy(config: Config) -> NetworkPolicy | None:
    """No ``network:`` at all is Moat's own default, permissive."""
    network = config.network
    policy = network.policy or "permissive"
    if policy == "bridge" or (policy == "none" and not network.host_ports):
        return None
    return NetworkPolicy(
        policy=policy,
        rules=network.rules,
        host_ports=network.host_ports,
        file=config.path.name,
    )


def port_forwards(egress: NetworkPolicy | None) -> tuple[PortForward, ...]:
    """The ports that the guest listens on: the proxy's own, and those of the host."""
    if egress is None:
        return ()
    proxy = [PortForward(PROXY_PORT, PROXY, "")] if egress.policy != "none" else []
    host = (PortForward(port, PROXY, f"{HOST_GATEWAY}:{port}") for port in egress.host_ports)
    return (*proxy, *host)


def notice(config: Config, egress: NetworkPolicy | None) -> str:
    """What the kernel can reach, in a line."""
    if egress is None and config.network.policy == "bridge":
        return (
            "network: bridge (the engine's ordinary network: every host that its containers reach, "
            "this machine and private addresses among them, by any protocol; nothing is refused "
            "and nothing recorded)"
        )
    if egress is None:
        return "network: none (the kernel has loopback only)"
    ports = ", ".join(map(str, egress.host_ports))
    host = f"ports of this machine: {ports}" if ports else ""
    if egress.policy == "none":
        return f"network: none ({host})"
    words = "any public host" if egress.policy == "permissive" else _hosts(egress)
    return f"network: {egress.policy} (HTTP and HTTPS to {words}{'; ' + host if host else ''})"


def _hosts(egress: NetworkPolicy) -> str:
    names = list(dict.fromkeys(rule.host for rule in egress.rules))
    more = len(names) - SHOWN_HOSTS
    shown = ", ".join(names[:SHOWN_HOSTS]) + (f" and {more} more" if more > 0 else "")
    return shown or "no host, as network.rules names none"


# ---------------------------------------------------------------- what cannot be


def _problems(config: Config) -> Iterator[Problem]:
    """What ``network:`` asks for that no runtime can do."""
    network, where = config.network, config.network.where
    if network.policy == "bridge":
        given = {"rules": network.rules, "host": network.host_ports}
        for key in (key for key, value in given.items() if value):
            what = f"network.{key} does not hold with policy bridge, where nothing is refused"
            yield Problem(where=where, what=what, hint=f"say policy: strict, or take {key} out")
    if network.policy == "none" and network.rules:
        what = "network.rules: with policy none they allow nothing"
        yield Problem(where=where, what=what, hint="say policy: strict, or take rules out")
    if network.policy != "none" and needed(network.rules) and (install := install_command()):
        rule = next(rule for rule in network.rules if rule.lines)
        what = f"{rule.host}: rules with methods and paths need TLS to be opened"
        yield Problem(where=rule.where, what=what, hint=f"run {install}, or allow the whole host")
    if PROXY_PORT in network.host_ports and network.policy != "none":
        what = f"network.host {PROXY_PORT} is the port of the sandbox's own proxy"
        yield Problem(where=where, what=what, hint="have the host's program listen elsewhere")


BUNDLE = f"{PLACE}/{CERTIFICATES}"


PROXY_PORT = 30128
"""On the sandbox's own 127.0.0.1, where nothing else is when the guest begins. Below the ports
that systems give to whoever asks for any (32768 and on), and none of IANA's registered ones."""


HOSTNAME = "sandbox"
"""The sandbox's own name: 127.0.0.1 inside, but where the engine gives it a network. It is not the
last part of host.moat, which is the proxy's."""

HERE = ("localhost", HOSTNAME, "127.0.0.1", "127.0.0.0/8", "0.0.0.0", "::1")
"""What is asked for directly: the sandbox's own loopback, where its services are. A name stands for
those below it too. curl and requests know of networks. Brackets, which urllib wants, end httpx."""


READ_BUNDLES = (
    "AWS_CA_BUNDLE",  # boto3, which has its own
    "CARGO_HTTP_CAINFO",
    "CONDA_SSL_VERIFY",  # conda takes a path for what others would call a switch
    "CURL_CA_BUNDLE",  # curl, and R where its libcurl reads no SSL_CERT_FILE
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",  # node and npm, beside what node has built in
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",  # OpenSSL, and with it python's ssl, Ruby, wget; Go; uv
)


def has_certificates(trust: tuple[str, ...], egress: NetworkPolicy | None) -> bool:
    """Whether :data:`BUNDLE` is there."""
    return bool(trust) or intercepts(egress)


def intercepts(egress: NetworkPolicy | None) -> bool:
    """Whether TLS is opened, by an authority that the sandbox is to trust."""
    return egress is not None and needed(egress.rules)


def way_out_variables(
    egress: NetworkPolicy | None, trust: tuple[str, ...], names: Iterable[str] = ()
) -> dict[str, str]:
    """All that a spec with ``egress`` and ``trust`` has them find; ``names`` is as below."""
    found = proxy_variables(egress, names)
    return {**found, **trust_variables()} if trust or intercepts(egress) else found


def proxy_variables(egress: NetworkPolicy | None, names: Iterable[str] = ()) -> dict[str, str]:
    """Where the proxy is; empty when there is none. ``names``: of services, asked for directly.

    ``ALL_PROXY`` is left out: for other protocols than HTTP(S) there is no way out, and some
    programs take it for SOCKS.
    """
    found = {}
    if egress is not None and egress.policy != "none":
        url = f"http://127.0.0.1:{PROXY_PORT}"
        directly = ",".join((*HERE, *names))
        for name, value in (("HTTP_PROXY", url), ("HTTPS_PROXY", url), ("NO_PROXY", directly)):
            found[name] = found[name.lower()] = value
        found["NODE_USE_ENV_PROXY"] = "1"  # node >= 22.21 then does as all the others do
    if egress is not None and egress.host_ports:
        found["MOAT_HOST_GATEWAY"] = "127.0.0.1"
    return found


def trust_variables() -> dict[str, str]:
    """Where the certificates are that the host trusts, in each program's own words."""
    return dict.fromkeys(READ_BUNDLES, BUNDLE)
