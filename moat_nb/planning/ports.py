"""What ``ports:`` of a moat.yaml means: names by which this machine reaches servers inside."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from moat_nb.config.model import Config
from moat_nb.egress.policy.network_policy import NetworkPolicy
from moat_nb.errors import Problem
from moat_nb.host.ports.options import Door
from moat_nb.planning.network import PROXY_PORT

__all__ = ["PortsPlan", "host_label", "plan_ports", "port_host", "port_variables"]

LONGEST_LABEL = 40
"""Of a project's name in a host's; with an id behind it, it stays below the 63 of a label."""


@dataclass(frozen=True, kw_only=True)
class PortsPlan:
    ports: tuple[tuple[str, int], ...] = ()
    """By name the port inside; of no use where there are problems."""
    problems: tuple[Problem, ...] = ()


def plan_ports(config: Config, egress: NetworkPolicy | None) -> PortsPlan:
    return PortsPlan(ports=config.ports, problems=tuple(_problems(config, egress)))


def _problems(config: Config, egress: NetworkPolicy | None) -> Iterator[Problem]:
    """Ports inside that the guest listens at itself, so no server can."""
    taken = {}
    if egress is not None:
        taken = dict.fromkeys(egress.host_ports, "network.host has it lead to this machine's")
        if egress.policy != "none":
            taken[PROXY_PORT] = "it is the port of the sandbox's own proxy"
    for name, port in config.ports:
        if port in taken:
            what = f"ports.{name}: no server in the sandbox can listen at {port}: {taken[port]}"
            hint = "have the server listen at another port"
            yield Problem(where=config.place("ports"), what=what, hint=hint)
        if name.lower() == "gateway" and egress is not None and egress.host_ports:
            what = f"ports.{name}: MOAT_HOST_GATEWAY is network.host's variable"
            hint = "choose another name"
            yield Problem(where=config.place("ports"), what=what, hint=hint)


def host_label(name: str) -> str:
    """A project's name as a part of a host's."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return words[:LONGEST_LABEL].strip("-") or "sandbox"


def port_host(name: str, project: str, sandbox: str) -> str:
    """A name that browsers take for this machine, and that no other sandbox or server has."""
    return f"{name.lower()}.{host_label(project)}-{sandbox}.localhost"


def port_variables(doors: Sequence[Door]) -> dict[str, str]:
    """What kernels and commands are told, as by Moat."""
    found = {}
    for door in doors:
        name = door.name.upper().replace("-", "_")
        found[f"MOAT_HOST_{name}"] = door.address
        found[f"MOAT_URL_{name}"] = door.url
    return found
