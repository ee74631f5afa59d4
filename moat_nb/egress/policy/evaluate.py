"""Evaluates ``network.policy`` and ``network.rules`` for a request, as Moat does. Pure.

The first entry with a matching host decides alone. An entry without lines allows the host. In an
entry with lines the first line that matches the request decides; without a match, the policy does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from moat_nb.config.model import Rule
from moat_nb.egress.policy.network_policy import NetworkPolicy
from moat_nb.egress.policy.pathmatch import WHOLE_SERVER, path_matches, readings
from moat_nb.egress.policy.verdict import Verdict

__all__ = ["PolicyEvaluator", "host_matches"]

Line = tuple[Literal["allow", "deny"], str, str]


@dataclass(frozen=True, kw_only=True)
class PolicyEvaluator:
    network: NetworkPolicy

    def entry(self, host: str) -> Rule | None:
        return next((rule for rule in self.network.rules if host_matches(rule.host, host)), None)

    def looks_inside(self, host: str) -> bool:
        """Whether its rules name a method or a path, which TLS hides from a proxy."""
        entry = self.entry(host)
        return entry is not None and bool(entry.lines)

    def host(self, host: str) -> Verdict:
        """Whether a connection to ``host`` may be made; its requests are judged one by one."""
        entry = self.entry(host)
        if self.network.policy == "none" or entry is None:
            return self._default(host, None)
        return Verdict(allowed=True, rule=_text(entry))

    def request(self, host: str, method: str, target: str) -> Verdict:
        """``target`` is the URL's path with its query, as it was sent, or ``*``.

        Servers read a path (``%2F``, ``..``) differently, so each reading must be allowed.
        Malformed where it has too many readings.
        """
        entry = self.entry(host)
        if self.network.policy == "none" or entry is None or not entry.lines:
            return self.host(host)
        verdict = None
        for reading in readings(target):
            verdict = self._lines(entry, host, method, reading)
            if not verdict.allowed:
                break
        assert verdict is not None
        return verdict

    def this_machine(self, port: int) -> Verdict:
        """Whether a connection to ``port`` of this machine's 127.0.0.1 may be made."""
        return Verdict(
            allowed=port in self.network.host_ports,
            rule="network.host",
            reason=f"port {port} of this machine is not in network.host",
            hint=f"add {port} to network.host",
        )

    def _lines(self, entry: Rule, host: str, method: str, segments: Sequence[str]) -> Verdict:
        for line in entry.lines:
            action, wanted, pattern = line
            if wanted not in ("*", method.upper()) or not _concerns(action, pattern, segments):
                continue
            rule = f"{_text(entry)}: {' '.join(line)}"
            if action == "allow":
                return Verdict(allowed=True, rule=rule)
            path = _written(segments)
            return Verdict(
                allowed=False,
                rule=rule,
                reason=f"refuses {method} {path} by the rule {' '.join(line)!r}",
                hint=f'add "allow {method} {path}" above "{" ".join(line)}"{_at(entry)}',
            )
        if self.network.policy == "permissive":
            return Verdict(allowed=True, rule="policy permissive")
        path = _written(segments)
        return Verdict(
            allowed=False,
            rule="policy strict",
            reason=f"has no rule that allows {method} {path} (policy strict)",
            hint=f'add "allow {method} {path}" to the lines of {entry.host}{_at(entry)}',
        )

    def _default(self, host: str, entry: Rule | None) -> Verdict:
        policy, file = self.network.policy, PurePath(self.network.file).name
        if policy == "permissive":
            return Verdict(allowed=True, rule="policy permissive")
        if policy == "none":
            reason = "cannot be reached (policy none)"
            hint = f'set network.policy to strict and add "- {host}" to network.rules in {file}'
        else:
            reason = "is not in network.rules (policy strict)"
            hint = f'add "- {host}" to network.rules in {file}'
        return Verdict(allowed=False, rule=f"policy {policy}", reason=reason, hint=hint)


def host_matches(pattern: str, host: str) -> bool:
    """``*`` stands for one label; both in lower case."""
    wanted, labels = pattern.split("."), host.split(".")
    return len(wanted) == len(labels) and all(
        want in ("*", label) for want, label in zip(wanted, labels, strict=True)
    )


def _concerns(action: str, pattern: str, segments: Sequence[str]) -> bool:
    """``OPTIONS *`` asks about the whole server: any line that denies concerns it, and only a line
    for all paths allows it."""
    if segments == WHOLE_SERVER:
        return action == "deny" or pattern == "/**"
    return path_matches(pattern, segments)


def _written(segments: Sequence[str]) -> str:
    return "/**" if segments == WHOLE_SERVER else "/" + "/".join(segments)


def _text(entry: Rule) -> str:
    return f"{entry.where} {entry.host}".strip()


def _at(entry: Rule) -> str:
    return f" at {entry.where}" if entry.where else ""
