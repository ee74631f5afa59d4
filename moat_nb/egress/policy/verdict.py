"""The decision on a request, and the errors that end one.

Ended            a request does not go on; holds its HTTP status and the reason for its author
├── Refused      the policy or a check forbids it; holds the Verdict
├── Malformed    a proxy cannot carry it
└── Failed       it was allowed, but the host or the way to it failed
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Ended", "Failed", "Malformed", "Refused", "Verdict"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The decision of a rule or a check on one request."""

    allowed: bool
    rule: str
    """The rule that decided: its place and text in the file, the policy, or a check's name."""
    reason: str = ""
    """Reason of a refusal; it follows the host's name or stands alone."""
    hint: str = ""
    """The change of moat.yaml that would help; empty when none would."""
    address: str = ""
    """The name's address, for the record alone: a sandbox must not learn private addresses."""


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
    """``status`` is 502; 504 where the time ran out; 503 where the proxy is full."""

    def __init__(self, reason: str, status: int = 502) -> None:
        super().__init__(reason)
        self.status = status
