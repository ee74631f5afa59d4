"""What ``network.policy`` and ``network.rules`` say of a request, as Moat reads them. Pure.

The first entry whose host matches decides alone. One without lines allows the host; of one with
lines the first that matches the request decides, and where none does, the policy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal
from urllib.parse import unquote_to_bytes

from moat_nb.config import Rule
from moat_nb.egress.order import Policy
from moat_nb.egress.verdict import Verdict

__all__ = ["Judge", "host_matches", "path_matches"]

Line = tuple[Literal["allow", "deny"], str, str]

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True, kw_only=True)
class Judge:
    policy: Policy
    rules: tuple[Rule, ...] = ()
    file: str = "moat.yaml"

    def entry(self, host: str) -> Rule | None:
        return next((rule for rule in self.rules if host_matches(rule.host, host)), None)

    def looks_inside(self, host: str) -> bool:
        """Whether its rules ask for a method or a path, which TLS hides from a proxy."""
        entry = self.entry(host)
        return entry is not None and bool(entry.lines)

    def host(self, host: str) -> Verdict:
        """Whether a connection to ``host`` may be made, its requests being judged one by one."""
        entry = self.entry(host)
        if self.policy == "none" or entry is None:
            return self._default(host, None)
        return Verdict(allowed=True, rule=_text(entry))

    def request(self, host: str, method: str, target: str) -> Verdict:
        """``target`` is the URL's path with its query, as it was sent.

        Servers differ in how they read a path (``%2F``, ``..``): each reading must be allowed.
        """
        entry = self.entry(host)
        if self.policy == "none" or entry is None or not entry.lines:
            return self.host(host)
        verdict = None
        for reading in _readings(target):
            verdict = self._lines(entry, host, method, reading)
            if not verdict.allowed:
                break
        assert verdict is not None
        return verdict

    def _lines(self, entry: Rule, host: str, method: str, segments: Sequence[str]) -> Verdict:
        for line in entry.lines:
            action, wanted, pattern = line
            if wanted not in ("*", method.upper()) or not path_matches(pattern, segments):
                continue
            rule = f"{_text(entry)}: {' '.join(line)}"
            if action == "allow":
                return Verdict(allowed=True, rule=rule)
            path = "/" + "/".join(segments)
            return Verdict(
                allowed=False,
                rule=rule,
                reason=f"refuses {method} {path} by the rule {' '.join(line)!r}",
                mend=f'add "allow {method} {path}" above "{" ".join(line)}"{_at(entry)}',
            )
        if self.policy == "permissive":
            return Verdict(allowed=True, rule="policy permissive")
        path = "/" + "/".join(segments)
        return Verdict(
            allowed=False,
            rule="policy strict",
            reason=f"has no rule that allows {method} {path} (policy strict)",
            mend=f'add "allow {method} {path}" to the lines of {entry.host}{_at(entry)}',
        )

    def _default(self, host: str, entry: Rule | None) -> Verdict:
        file = PurePath(self.file).name
        if self.policy == "permissive":
            return Verdict(allowed=True, rule="policy permissive")
        if self.policy == "none":
            reason = "cannot be reached (policy none)"
            mend = f'set network.policy to strict and add "- {host}" to network.rules in {file}'
        else:
            reason = "is not in network.rules (policy strict)"
            mend = f'add "- {host}" to network.rules in {file}'
        return Verdict(allowed=False, rule=f"policy {self.policy}", reason=reason, mend=mend)


def host_matches(pattern: str, host: str) -> bool:
    """``*`` stands for one label; both in lower case."""
    wanted, given = pattern.split("."), host.split(".")
    return len(wanted) == len(given) and all(
        label in ("*", other) for label, other in zip(wanted, given, strict=True)
    )


def path_matches(pattern: str, segments: Sequence[str]) -> bool:
    """``*`` stands for one segment, ``**`` for any number of them: none only at the very front,
    so that ``/a/**`` is not ``/a``, as in Moat's ``netrules/pathmatch.go``."""
    reached = {0}
    """How many segments the pattern's part so far may have taken."""
    front = True
    for wanted in _resolved(_segments(pattern)):
        if wanted == "**":
            first = min(reached, default=len(segments)) + (0 if front else 1)
            reached = set(range(first, len(segments) + 1))
        else:
            reached = {
                taken + 1
                for taken in reached
                if taken < len(segments) and wanted in ("*", segments[taken])
            }
        front = False
    return len(segments) in reached


def _readings(target: str) -> list[tuple[str, ...]]:
    """The ways in which servers split a path: with ``%2F`` as a letter or as a separator, with
    ``..`` resolved or not. Most paths have one."""
    path = target.partition("?")[0].partition("#")[0].encode("latin-1", "replace")
    plain = _ESCAPE.sub(_unescape_unreserved, path).decode("latin-1")
    full = unquote_to_bytes(path).decode("latin-1").replace("\\", "/")
    found: dict[tuple[str, ...], None] = {}
    for segments in (_segments(plain), _segments(full)):
        found[_resolved(segments)] = None
        found[segments] = None
    return list(found)


def _unescape_unreserved(found: re.Match[bytes]) -> bytes:
    byte = int(found[1], 16)
    return bytes([byte]) if byte in _UNRESERVED else found[0].upper()


def _segments(path: str) -> tuple[str, ...]:
    return tuple(segment for segment in path.split("/") if segment)


def _resolved(segments: Sequence[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return tuple(kept)


def _text(entry: Rule) -> str:
    return f"{entry.where} {entry.host}".strip()


def _at(entry: Rule) -> str:
    return f" at {entry.where}" if entry.where else ""
