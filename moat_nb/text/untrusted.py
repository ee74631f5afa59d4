"""Checks a sandbox's values for type and range."""

from __future__ import annotations

from typing import Any

from moat_nb.text.terminal import one_line

__all__ = ["MAX_PATH", "as_dict", "number", "text"]

MAX_NUMBER = 1 << 63
MAX_PATH = 4096


def number(value: Any) -> int:
    """A count or an amount; ValueError for anything else."""
    if type(value) is not int or not 0 <= value < MAX_NUMBER:
        raise ValueError(f"{value!r:.40} is not a number that was asked for")
    return value


def as_dict(value: Any) -> dict[str, Any]:
    """``value``, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def text(value: Any, limit: int) -> str:
    """``value`` in one line, cut to ``limit`` characters, without control sequences."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is not a text")
    return one_line(value[:limit])
