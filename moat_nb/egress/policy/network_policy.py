"""What may be reached through the proxy: one value for spec, proxy options and evaluator."""

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
    """Named in a refusal's hint."""

    @classmethod
    def parse(cls, fields: dict[str, Any]) -> NetworkPolicy:
        """From the JSON of its fields; KeyError or TypeError for fields that do not fit."""
        return cls(
            policy=fields["policy"],
            rules=tuple(_rule(rule) for rule in fields["rules"]),
            host_ports=tuple(fields["host_ports"]),
            file=fields["file"],
        )


def _rule(fields: dict[str, Any]) -> Rule:
    lines = tuple((action, method, path) for action, method, path in fields["lines"])
    return Rule(host=fields["host"], lines=lines, where=fields["where"])
