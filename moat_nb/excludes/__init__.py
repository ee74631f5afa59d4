"""Excludes: the one validator, the matching of globs, and the one editing function."""

from __future__ import annotations

from moat_nb.excludes.edit import get_excludes, set_excludes
from moat_nb.excludes.rules import (
    States,
    advance,
    begin,
    check,
    check_all,
    is_glob,
    normalise,
)

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
