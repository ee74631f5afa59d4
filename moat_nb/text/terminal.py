"""Makes a sandbox's text safe for the user's terminal."""

from __future__ import annotations

import re

__all__ = ["for_terminal", "last_lines", "one_line", "plain_lines"]

# Colours and cursor movements may pass. All other sequences (titles, clipboards, answers to
# queries) could harm the user's terminal. Output may arrive in pieces, so an unfinished sequence
# goes as well: the terminal would join its halves.
_SEQUENCE = re.compile(
    r"\x1b(?:\[(?![0-9;]*[ABCDGJKm])[0-?]*[ -/]*[@-~]?"
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|(?!\[).?)",
    re.DOTALL,
)
_CONTROL = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_ALLOWED = re.compile(r"\x1b\[[0-9;]*[ABCDGJKm]")

# The bytes of UTF-8 that either begins with; U+0080 to U+009F begin with C2.
_BEGINNINGS = bytes({*range(0x20)} - {0x08, 0x09, 0x0A, 0x0D} | {0x7F, 0xC2})

LONGEST_LINE = 300
"""Characters of a line in an error text."""


def for_terminal(text: str) -> str:
    """``text`` without control sequences, except colours and cursor movements."""
    # Most text has none, which this tells in a tenth of the time.
    written = text.encode("utf-8", "surrogatepass")
    if len(written.translate(None, _BEGINNINGS)) == len(written):
        return text
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


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
