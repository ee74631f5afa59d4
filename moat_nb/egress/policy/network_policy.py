"""What may be reached through the proxy, as one value: of the spec, the order and the judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moat_nb.config.model import ProxyPolicy, Rule

__all__ = ["NetworkPolicy"]


@dataclass(frozen=True, kw_only=True)
class NetworkPolicy:
    policy: ProxyPolicy
    """``none``: the host's ports alone."""
    rules: tuple[Rule, ...] = ()
    host_ports: tuple[int, ...] = ()
    """Ports of this machine's 127.0.0.1, reached by ``CONNECT host.moat:PORT``."""
    file: str = "moat.yaml"
    """For what a refusal says."""

    @classmethod
    def parse(cls, given: dict[str, Any]) -> NetworkPolicy:
        """From the JSON of its fields; KeyError or TypeError where they do not fit together."""
        return cls(
            policy=given["policy"],
            rules=tuple(_rule(rule) for rule in given["rules"]),
            host_ports=tuple(given["host_ports"]),
            file=given["file"],
        )


def _rule(given: dict[str, Any]) -> Rule:
    lines = tuple((verdict, method, path) for verdict, method, path in given["lines"])
    return Rule(host=given["host"], lines=lines, where=given["where"])
