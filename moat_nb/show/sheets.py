"""What a sandbox, a mount plan and doctor's findings look like: pure functions of a value each.

The words for mounts and limits are those of ``moat-nb plan``.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from moat_nb.text.summary import Cell, Level, Mark, Sheet, Table

if TYPE_CHECKING:
    from moat_nb.doctor import Finding

__all__ = ["of_findings"]

# ---------------------------------------------------------------- mounts


# ---------------------------------------------------------------- a sandbox


# ---------------------------------------------------------------- doctor

_MARKS: dict[str, Level] = {"ok": "good", "warn": "warn", "no": "bad"}


def of_findings(findings: Iterable[Finding]) -> Sheet:
    groups = [(group, tuple(found)) for group, found in groupby(findings, lambda one: one.group)]
    usable = [one.subject for _, found in groups for one in found if one.makes_usable]
    words = f"runs sandboxes on {', '.join(usable)}" if usable else "no runtime can be used"
    return Sheet(
        title="This machine",
        mark=Mark(level="good" if usable else "bad", text=words),
        tables=tuple(
            Table(
                title=group,
                columns=("subject", "verdict", "what was found", "what to do"),
                rows=tuple(map(_finding, found)),
            )
            for group, found in groups
        ),
    )


def _finding(finding: Finding) -> tuple[Cell, ...]:
    verdict = Mark(level=_MARKS[finding.verdict], text=finding.verdict)
    return finding.subject, verdict, finding.detail, finding.mend
