"""Says which files that look like secrets a sandbox can read: most were not meant to be seen."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator

from moat_nb.config.model import MountEntry
from moat_nb.excludes.suggest import unmeasured
from moat_nb.planning.walk import Budget
from moat_nb.sandbox.project import LaunchPlan
from moat_nb.text.terminal import one_line

__all__ = ["tell", "warning"]

ENTRIES, SECONDS = 50_000, 0.5
"""Of the look: it comes before a start, which shall not wait for it."""

SHOWN = 5


def tell(plan: LaunchPlan) -> None:
    """Print :func:`warning` for the user, where there is one."""
    if words := warning(plan):
        print(f"moat-nb: {words}", file=sys.stderr)


def warning(plan: LaunchPlan) -> str:
    """One line for the first mount in which such files are, and what hides them; else empty.

    The project's own mounts alone are looked at: what else is mounted was asked for by name.
    """
    budget = Budget(entries=ENTRIES, seconds=SECONDS)
    for mount in plan.config.mounts:
        if not mount.source.is_relative_to(plan.config.directory):
            continue
        if found := tuple(_secrets(mount, budget)):
            names = ", ".join(found[:SHOWN])
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            mend = " ".join(map(shlex.quote, found[:SHOWN]))
            target = "" if mount.target == "/workspace" else f" --target {mount.target}"
            verb = "looks like a secret" if len(found) == 1 else "look like secrets"
            return one_line(
                f"{names}{more} {verb} and can be read inside; to hide: "
                f"moat-nb exclude add {mend}{target}"
            )
    return ""


def _secrets(mount: MountEntry, budget: Budget) -> Iterator[str]:
    patterns = [exclude.pattern for exclude in mount.exclude]
    for one in unmeasured(mount.source, patterns, budget):
        if one.secret:
            yield one.pattern
