"""How the proxy says no.

Ended            a request does not go on; holds its HTTP status and the words for its author
├── Refused      the policy or a check forbids it, by the Verdict that it holds
├── Malformed    it is not a request that a proxy can carry
└── Failed       it was allowed, and the way to the host or the host itself did not do
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Ended", "Failed", "Malformed", "Refused", "Verdict"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a rule or a check decided on one request."""

    allowed: bool
    rule: str
    """The rule that decided: its place and text in the file, the policy, or a check's name."""
    reason: str = ""
    """Why not, in words that follow the host's name or stand alone."""
    hint: str = ""
    """What to write where in moat.yaml; empty when nothing there would help."""
    address: str = ""
    """To which the name resolved; for the record alone, as it may be one of a private network,
    of which a sandbox is told nothing."""


class Ended(Exception):
    status = 502

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Refused(Ended):
    status = 403

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        super().__init__(verdict.reason)


class Malformed(Ended):
    status = 400


class Failed(Ended):
    """``status`` is 502, or 504 where the time ran out, or 503 where the proxy is full."""

    def __init__(self, reason: str, status: int = 502) -> None:
        super().__init__(reason)
        self.status = status
