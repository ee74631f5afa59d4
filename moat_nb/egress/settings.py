"""What ``network:`` of a moat.yaml means for a sandbox, as values; nothing is looked at here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from moat_nb.config import Config
from moat_nb.egress.environment import (
    BUNDLE,
    PLACE,
    PROXY_PORT,
    intercepts,
    way_out_variables,
)
from moat_nb.egress.intercept import missing, needed
from moat_nb.egress.names import HOST_GATEWAY
from moat_nb.egress.network_policy import NetworkPolicy
from moat_nb.errors import Problem

__all__ = [
    "BUNDLE",
    "PLACE",
    "PROXY",
    "PROXY_PORT",
    "Door",
    "NetworkPlan",
    "doors",
    "intercepts",
    "notice",
    "plan_network",
]

PROXY = f"{PLACE}/proxy"

SHOWN_HOSTS = 3

_NO_SOCKETS = ": no socket of this machine reaches into its virtual machine"

Door = tuple[int, str, str]
"""A port that the guest listens on, the unix socket it carries connections to, and the
``host:port`` that it asks the proxy for first; empty for the proxy itself."""


@dataclass(frozen=True, kw_only=True)
class NetworkPlan:
    """All that a kernel's spec takes from ``network:``; of no use where there are problems."""

    network: Literal["none", "bridge"]
    """The engine's."""
    egress: NetworkPolicy | None
    """What may be reached through the proxy; a sandbox without it has no proxy."""
    trust: tuple[str, ...]
    """Host files with certificates, where there is a way out that they are of use for."""
    doors: tuple[Door, ...]
    env: tuple[tuple[str, str], ...]
    """The variables by which programs inside find the way out."""
    notices: tuple[str, ...]
    problems: tuple[Problem, ...]


def plan_network(
    config: Config, *, runtime: str, sockets: bool, trust: tuple[str, ...]
) -> NetworkPlan:
    """``sockets``: whether unix sockets of this machine reach into ``runtime``'s sandboxes;
    ``trust``: the files with the certificates that this machine trusts."""
    bridged = config.network.policy == "bridge"
    egress = _policy(config) if sockets else None
    trusted = trust if bridged or egress is not None else ()
    services = (service.name for service in config.wanted_services)
    refused = () if sockets else _problems_without_sockets(config, runtime)
    return NetworkPlan(
        network="bridge" if bridged else "none",
        egress=egress,
        trust=trusted,
        doors=doors(egress),
        env=tuple(way_out_variables(egress, trusted, services).items()),
        notices=(notice(config, egress),),
        problems=(*_problems(config), *refused),
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


def doors(egress: NetworkPolicy | None) -> tuple[Door, ...]:
    """What the guest listens on."""
    if egress is None:
        return ()
    proxy = [(PROXY_PORT, PROXY, "")] if egress.policy != "none" else []
    return (*proxy, *((port, PROXY, f"{HOST_GATEWAY}:{port}") for port in egress.host_ports))


def notice(config: Config, egress: NetworkPolicy | None) -> str:
    """What the kernel can reach, in a line."""
    if egress is None and config.network.policy == "bridge":
        return (
            "network: bridge (the engine's ordinary network: every host that its containers reach, "
            "this machine and private addresses among them, by any protocol; nothing is refused "
            "and nothing recorded)"
        )
    if egress is None:
        why = "" if config.network.policy == "none" else _NO_SOCKETS
        return f"network: none (the kernel has loopback only{why})"
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
    """What ``network:`` and ``container.dns`` ask for that no runtime can do."""
    network, where = config.network, config.network.where
    if network.policy == "bridge":
        given = {"rules": network.rules, "host": network.host_ports}
        for key in (key for key, value in given.items() if value):
            what = f"network.{key} does not hold with policy bridge, where nothing is refused"
            yield Problem(where=where, what=what, mend=f"say policy: strict, or take {key} out")
    elif config.container.dns:
        what = "container.dns: the sandbox asks no name server, its proxy resolves names"
        mend = "take dns out, or say network: {policy: bridge}"
        yield Problem(where=config.container.where, what=what, mend=mend)
    if network.policy == "none" and network.rules:
        what = "network.rules: with policy none they allow nothing"
        yield Problem(where=where, what=what, mend="say policy: strict, or take rules out")
    if network.policy != "none" and needed(network.rules) and (install := missing()):
        rule = next(rule for rule in network.rules if rule.lines)
        what = f"{rule.host}: rules with methods and paths need TLS to be opened"
        yield Problem(where=rule.where, what=what, mend=f"run {install}, or allow the whole host")
    if PROXY_PORT in network.host_ports and network.policy != "none":
        what = f"network.host {PROXY_PORT} is the port of the sandbox's own proxy"
        yield Problem(where=where, what=what, mend="have the host's program listen elsewhere")


def _problems_without_sockets(config: Config, runtime: str) -> Iterator[Problem]:
    """What was asked for in words and cannot be had where no unix socket crosses."""
    network = config.network
    if network.policy not in (None, "none") or network.host_ports:
        asked = "network.host" if network.policy == "none" else f"network.policy {network.policy}"
        what = f"{runtime}: {asked}: its virtual machine reaches no socket of this machine's"
        mend = "use docker, or say network: {policy: none}"
        yield Problem(where=network.where, what=what, mend=mend)
