"""Versions of engines and low-level runtimes that are known to be unsafe. Pure data and rules.

Sources: runc's advisories of November 2025 under the CVE numbers below, and moby's
GHSA-mq39-4gv4-mvpx of March 2024.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["ADVISORIES", "Advisory", "affecting", "version_of"]


@dataclass(frozen=True, kw_only=True)
class Advisory:
    cves: tuple[str, ...]
    component: str
    """``runc`` or ``docker``."""
    fixed: tuple[tuple[int, int, int], ...]
    """The first fixed version of each release branch, ascending; what is newer than the last
    branch is fixed, and a branch that is not named never was."""

    def affects(self, version: tuple[int, ...]) -> bool:
        if version >= self.fixed[-1]:
            return False
        return not any(version[:2] == floor[:2] and version >= floor for floor in self.fixed)


ADVISORIES = (
    Advisory(
        cves=("CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"),
        component="runc",
        fixed=((1, 2, 8), (1, 3, 3), (1, 4, 0)),
    ),
    Advisory(
        cves=("CVE-2024-29018",),
        component="docker",
        fixed=((23, 0, 11), (25, 0, 5), (26, 0, 0)),
    ),
)


def affecting(component: str, version: str) -> Iterator[Advisory]:
    """The advisories that ``version`` of ``component`` is open to, by its number alone."""
    numbers = version_of(version)
    for advisory in ADVISORIES:
        if advisory.component == component and numbers and advisory.affects(numbers):
            yield advisory


def version_of(text: str) -> tuple[int, ...]:
    """The first version in ``text``, as three numbers: ``1.1.5+ds1``, ``runc version 1.3``."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(number or 0) for number in match.groups()) if match else ()
