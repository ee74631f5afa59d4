"""Makes a sandbox's text safe for the user's terminal."""

from __future__ import annotations

import re

__all__ = ["for_terminal", "last_lines", "one_line", "plain_lines"]

# Colours and cursor movements may pass. All other sequences (titles, clipboards, answers to
# queries) could harm the user's terminal. Output may arrive in pieces, so an unfinished sequence
# goes as well: the terminal would join its halves.
_STEERING = re.compile(
    r"\x1b\[(?![0-9;]*[ABCDGJKm])[0-?]*[ -/]*[@-~]?"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b(?!\[).?"
    r"|[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]",
    re.DOTALL,
)
_ALLOWED = re.compile(r"\x1b\[[0-9;]*[ABCDGJKm]")

LONGEST_LINE = 300
"""Characters of a line in an error text."""


def for_terminal(text: str) -> str:
    """``text`` without control sequences, except colours and cursor movements."""
    return _STEERING.sub("", text)


def one_line(text: str) -> str:
    """``text`` in one line, each character that does not print replaced by U+FFFD."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def last_lines(text: str, count: int) -> str:
    """The last ``count`` of :func:`plain_lines`."""
    return "\n".join(plain_lines(text)[-count:])


def plain_lines(text: str) -> list[str]:
    """The lines that are not blank, without colours, each of a bounded length."""
    plain = _ALLOWED.sub("", for_terminal(text)).replace("\t", "    ")
    lines = [line.rstrip() for line in plain.splitlines() if line.strip()]
    return [one_line(line[:LONGEST_LINE]) for line in lines]
