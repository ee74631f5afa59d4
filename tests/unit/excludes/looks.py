"""What a look finds in a directory that a test made."""

from __future__ import annotations

from pathlib import Path

from moat_nb.excludes.suggest import Candidate, scan
from moat_nb.planning.walk import Budget


def found(source: Path, *patterns: str, budget: Budget | None = None) -> dict[str, Candidate]:
    """By pattern, with sizes."""
    return {one.pattern: one for one in scan(source, patterns, budget or Budget())}


def make(source: Path, *paths: str) -> None:
    """Files, and directories where a path ends with a slash."""
    for path in paths:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (source / path).mkdir(exist_ok=True)
        else:
            (source / path).write_text("x" * 5000)
