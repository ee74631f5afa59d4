"""Excludes: the one validator, the matching of globs, and the one editing function."""

from __future__ import annotations

from moat_nb.config.exclude_patterns import (
    States,
    advance,
    begin,
    check,
    check_all,
    is_glob,
    normalise,
)
from moat_nb.excludes.edit import get_excludes, set_excludes

__all__ = [
    "States",
    "advance",
    "begin",
    "check",
    "check_all",
    "get_excludes",
    "is_glob",
    "normalise",
    "set_excludes",
]
