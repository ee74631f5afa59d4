"""Makes a sandbox's text safe for the user's terminal: the one place where that is done.

Names of files are a sandbox's text too, and so are a moat.yaml's. Errors (``MoatError``), the log,
tables, summaries and what the command line prints all pass here.
"""

from __future__ import annotations

import logging
import re
from typing import IO, Any, cast

__all__ = [
    "LOGGER",
    "Harmless",
    "for_terminal",
    "last_lines",
    "one_line",
    "plain_lines",
    "printable",
    "without_halves",
]

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

# The bytes of UTF-8 that neither begins with; U+0080 to U+009F begin with C2.
_PASSING = bytes({*range(0x20, 0x100), 0x08, 0x09, 0x0A, 0x0D} - {0x7F, 0xC2})
# Characters that show nothing, and change in which order others are shown (bidirectional text).
_REORDERING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_HALVES = re.compile("[\ud800-\udfff]")
REPLACED = "\N{REPLACEMENT CHARACTER}"

LONGEST_LINE = 300
"""Characters of a line in an error text."""


def for_terminal(text: str) -> str:
    """``text`` without control sequences, except colours and cursor movements."""
    # Most text has none, which this tells in a tenth of the time.
    if not text.encode("utf-8", "surrogatepass").translate(None, _PASSING):
        return text
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


def one_line(text: str) -> str:
    """``text`` in one line, each character that does not print replaced by U+FFFD."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else REPLACED for c in text)


def printable(text: str) -> str:
    """``text`` with its line breaks and without colours, each other character that does not print
    replaced."""
    if text.isprintable():
        return text
    text = _ALLOWED.sub("", text)
    return "\n".join(one_line(line.expandtabs(4)) for line in text.split("\n"))


def without_halves(text: str) -> str:
    """``text`` as it can be encoded, each half of a character replaced."""
    return _HALVES.sub(REPLACED, text)


def last_lines(text: str, count: int) -> str:
    """The last ``count`` of :func:`plain_lines`."""
    return "\n".join(plain_lines(text)[-count:])


def plain_lines(text: str) -> list[str]:
    """The lines that are not blank, without colours, each of a bounded length."""
    plain = _ALLOWED.sub("", for_terminal(text)).replace("\t", "    ")
    lines = [line.rstrip() for line in plain.splitlines() if line.strip()]
    return [one_line(line[:LONGEST_LINE]) for line in lines]


class Harmless:
    """A text stream to a terminal, through which nothing passes that could steer it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        text = without_halves(_REORDERING.sub(REPLACED, for_terminal(text)))
        self._stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @classmethod
    def around(cls, stream: IO[str]) -> IO[str]:
        return stream if isinstance(stream, cls) else cast("IO[str]", cls(stream))


def _harmless(record: logging.LogRecord) -> bool:
    # What stands behind a line break is no record of its own, and must not look like one.
    record.msg, record.args = printable(record.getMessage()).replace("\n", "\n    "), ()
    return True


LOGGER = logging.getLogger("moat_nb")
"""The one log of this package."""
LOGGER.addFilter(_harmless)
