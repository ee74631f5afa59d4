"""Markdown as HTML, made here: front ends read Markdown each in its own way, HTML all the same.

JupyterLab for one takes formulas out, has the rest read, and puts them back unquoted, wherever
they stood. So no check of the text can say what becomes of it there.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from moat_nb.jupyter.output.effort import spend

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

__all__ = ["LONGEST", "as_html", "is_readable"]

LONGEST = 1 << 18
"""Characters, with the images in it."""

STOPS, MAX_STOPS = "!$%&*+-:<=>@[\\]^_`{|}~\n", 10_000
"""Characters at which the parser stops to look; each takes it a time."""

EFFORT = 50
"""Of such a character, in those of HTML."""

MAX_CELLS = 20_000
"""Of tables: it gives each row as many as the first one has."""

LONGEST_FORMULA = 10_000
"""Characters; how far the end of one is looked for."""

# `\\(` is how a formula's `\(` is written in Markdown.
BEGIN = re.compile(r"\$\$?|\\\\[(\[]|\\begin\{([A-Za-z]{1,30}\*?)\}")
ENDS = {"$": "$", "$$": "$$", "\\\\(": "\\\\)", "\\\\[": "\\\\]"}
BLANK = re.compile(r"\n[ \t]*\n")
ESCAPED_DOLLAR = "\\$"


def is_readable(text: str) -> bool:
    """Whether :func:`as_html` takes less than a second for it."""
    stops = sum(map(text.count, STOPS))
    if len(text) > LONGEST or stops > MAX_STOPS:
        return False
    blocks = (block.split("\n") for block in BLANK.split(text) if "|" in block)
    cells = (len(lines) * max(line.count("|") for line in lines) for lines in blocks)
    effort = len(text) + EFFORT * stops
    return sum(cells) <= MAX_CELLS and spend(effort)


def as_html(text: str) -> str:
    """HTML with the tags that stand in ``text`` itself, so it is to be sanitised; formulas are left
    to the front end."""
    return str(_parser().render(text))


def _end_of_formula(text: str, at: int) -> int | None:
    """Behind the formula that begins at ``at``; None when none does."""
    begin = BEGIN.match(text, at)
    if begin is None:
        return None
    end = ENDS.get(begin[0], f"\\end{{{begin[1]}}}")
    found = text.find(end, begin.end(), begin.end() + LONGEST_FORMULA)
    is_empty = found == begin.end()
    # As in JupyterLab: a paragraph's end ends a formula that has a dollar.
    if found < 0 or is_empty or (end[0] == "$" and "\n\n" in text[at:found]):
        return None
    return found + len(end)


def _formula(state: StateInline, silent: bool) -> bool:
    text, at = state.src, state.pos
    end = at + 2 if text.startswith(ESCAPED_DOLLAR, at) else _end_of_formula(text, at)
    if end is None or end > state.posMax:
        return False
    if not silent:
        words = text[at:end]
        if words.startswith("\\\\"):
            words = words[1:-3] + words[-2:]
        state.push("text", "", 0).content = words
    state.pos = end
    return True


def _formulas_lines(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """A formula of several lines, some of which may look like a list or a heading."""
    at = state.bMarks[first] + state.tShift[first]
    if not state.src.startswith(("$$", "\\begin{", "\\\\["), at):
        return False
    end = _end_of_formula(state.src, at)
    if end is None:
        return False
    line = next((n for n in range(first, last) if end <= state.eMarks[n]), None)
    if line is None or state.src[end : state.eMarks[line]].strip():
        return False
    if not silent:
        state.push("paragraph_open", "p", 1)
        token = state.push("inline", "", 0)
        token.content, token.children, token.map = state.src[at:end], [], [first, line + 1]
        state.push("paragraph_close", "p", -1)
    state.line = line + 1
    return True


@functools.cache
def _parser() -> MarkdownIt:
    # A fifth of the relay's start, which few sandboxes need.
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parser.inline.ruler.before("escape", "formula", _formula)
    parser.block.ruler.before("code", "formula", _formulas_lines, {"alt": ["paragraph"]})
    return parser
