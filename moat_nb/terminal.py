"""A sandbox's text, before a terminal of the user's sees it."""

from __future__ import annotations

import re

__all__ = ["for_terminal"]

# What a program may do to the line that it writes on: colours and cursor movements. All other
# sequences (titles, clipboards, answers to queries) are for the terminal that a user trusts.
_STEERING = re.compile(
    r"\x1b\[(?![0-9;]*[ABCDGJKm])[0-?]*[ -/]*[@-~]?"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b(?!\[)."
    r"|[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]",
    re.DOTALL,
)


def for_terminal(text: str) -> str:
    """``text`` without what would steer a terminal, but for colours and cursor movements."""
    return _STEERING.sub("", text)
