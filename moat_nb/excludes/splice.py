"""Edits YAML text at the marks of its nodes; all other text stays character for character.

Nothing here proves that the result means what was asked: ``edit.py`` reads it again and compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import yaml

from moat_nb.config.yaml_nodes import Node

__all__ = [
    "Edit",
    "UnsafeError",
    "after_line",
    "apply",
    "change_list",
    "flow_list",
    "lead_of",
    "scalar",
]

# All of YAML 1.1's line breaks, for a comment ends at any of them.
_BREAKS = "\n\r\x85\u2028\u2029"
_BREAK = re.compile(rf"\r\n|[{_BREAKS}]")
_DASH = re.compile(r" *-[ \t]+")
_BLANK_OR_COMMENT = re.compile(r"[ \t]*(#.*)?", re.DOTALL)
_COMMA_OR_COMMENT = re.compile(r"[ \t]*(,?)[ \t]*(#.*)?", re.DOTALL)
_COLON = re.compile(r"[ \t]*:")
_STRING = "tag:yaml.org,2002:str"
_PLAIN = re.compile(r"[A-Za-z0-9_./~][A-Za-z0-9_./~*-]*")


class UnsafeError(Exception):
    """This layout cannot be spliced; the text says what is in the way."""


@dataclass(frozen=True, kw_only=True, order=True)
class Edit:
    """Replaces the text from ``start`` to ``end`` by ``text``."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, kw_only=True)
class _Row:
    """An item on lines of its own: where they start and end, the line break included."""

    start: int
    end: int
    lead: str
    """What stands before the item on its first line."""
    comma: bool = True


def apply(text: str, edits: Iterable[Edit]) -> str:
    """``text`` after ``edits``, which must not overlap."""
    result, done = [], 0
    for edit in sorted(edits):
        result += [text[done : edit.start], edit.text]
        done = edit.end
    return "".join(result) + text[done:]


def _newline(text: str) -> str:
    """The text's own line break: that of its first line."""
    found = _BREAK.search(text)
    return found[0] if found and found[0] in {"\r\n", "\r"} else "\n"


def scalar(value: str, quote: str = "") -> str:
    """``value`` as YAML, in quotes where it needs them or ``quote`` gives some."""
    if quote and re.fullmatch(r"[A-Za-z0-9_./~*-]*", value):
        return f"{quote}{value}{quote}"
    if _PLAIN.fullmatch(value) and not value.startswith("...") and _is_string(value):
        return value
    dumped = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=1 << 30)
    return str(dumped).rstrip("\n")


def flow_list(values: Iterable[str], quote: str = "") -> str:
    return f"[{', '.join(scalar(value, quote) for value in values)}]"


def after_line(text: str, position: int, lines: Sequence[str]) -> Edit:
    """Whole lines after the line in which ``position`` stands."""
    break_ = _newline(text)
    if _ends_with_break(text[:position]):
        # As behind a block scalar, which takes the break after it along, or at a file's end.
        return Edit(start=position, end=position, text="".join(line + break_ for line in lines))
    at = _line_end(text, position)
    return Edit(start=at, end=at, text="".join(break_ + line for line in lines))


def lead_of(text: str, item: Node) -> str:
    """What stands before a block item on its line: spaces and the dash."""
    lead = text[_line_start(text, item.start) : item.start]
    if not _DASH.fullmatch(lead):
        raise UnsafeError("an item does not stand on a line of its own after its dash")
    return lead


def change_list(text: str, key: Node, node: Node, new: Sequence[str]) -> list[Edit]:
    """The edits that make the list ``node`` of scalars, the value of ``key``, hold ``new``.

    Items that stay keep their spelling, their place and the comments around them.
    """
    quote = _common_quote(text, node)
    if not node.flow:
        return _change_block(text, key, node, new, quote)
    opening, closing = text.index("[", node.start), node.end - 1
    marks = [opening + 1, *(at for item in node.items for at in (item.start, item.end)), closing]
    gaps = [text[start:end] for start, end in zip(marks[::2], marks[1::2], strict=True)]
    rows = _flow_rows(text, node, gaps)
    if rows:
        return _change_rows(text, node, rows, new, quote, comma=",")
    if any("#" in gap for gap in gaps):
        raise UnsafeError("comments stand between items that share a line")
    inner = _joined(text, node, gaps, new, quote)
    return [Edit(start=opening + 1, end=closing, text=inner)]


def _change_block(text: str, key: Node, node: Node, new: Sequence[str], quote: str) -> list[Edit]:
    rows = [_block_row(text, item) for item in node.items]
    edits = _change_rows(text, node, rows, new, quote)
    if new:
        return edits
    colon = _COLON.match(text, key.end)
    if colon is None or not _BLANK_OR_COMMENT.fullmatch(
        text[colon.end() : _line_end(text, colon.end())]
    ):
        raise UnsafeError("more than a comment stands between the key and its list")
    return [*edits, Edit(start=colon.end(), end=colon.end(), text=" []")]


def _change_rows(
    text: str, node: Node, rows: Sequence[_Row], new: Sequence[str], quote: str, comma: str = ""
) -> list[Edit]:
    removed, added = _difference([item.text for item in node.items], new)
    break_ = _newline(text)
    edits = [Edit(start=rows[i].start, end=rows[i].end, text="") for i in removed]
    for i, values in added.items():
        lines = [f"{rows[0].lead}{scalar(value, quote)}{comma}" for value in values]
        at = rows[i - 1].end if i else rows[0].start
        if i and not rows[i - 1].comma:
            end = node.items[i - 1].end
            edits.append(Edit(start=end, end=end, text=comma))
        if i and not _ends_with_break(text[:at]):
            edits.append(Edit(start=at, end=at, text="".join(break_ + line for line in lines)))
        else:
            edits.append(Edit(start=at, end=at, text="".join(line + break_ for line in lines)))
    return edits


def _joined(text: str, node: Node, gaps: Sequence[str], new: Sequence[str], quote: str) -> str:
    if not new:
        return ""
    if not node.items:
        return ", ".join(scalar(value, quote) for value in new)
    removed, added = _difference([item.text for item in node.items], new)
    result = ""
    for i in range(len(node.items) + 1):
        for value in added.get(i, ()):
            result += (", " if result else "") + scalar(value, quote)
        if i < len(node.items) and i not in removed:
            item = node.items[i]
            separator = gaps[i] if i else ", "
            result += (separator if result else "") + text[item.start : item.end]
    return gaps[0] + result + gaps[-1]


def _difference(old: Sequence[str], new: Sequence[str]) -> tuple[set[int], dict[int, list[str]]]:
    """Removed items by index of ``old``; new items by the index that they stand before."""
    removed: set[int] = set()
    added: dict[int, list[str]] = {}
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for _, i, i_end, j, j_end in (op for op in matcher.get_opcodes() if op[0] != "equal"):
        removed.update(range(i, i_end))
        if j < j_end:
            added[i] = list(new[j:j_end])
    return removed, added


def _block_row(text: str, item: Node) -> _Row:
    lead = lead_of(text, item)
    end = _line_end(text, item.end)
    if _BREAK.search(text, item.start, item.end):
        raise UnsafeError("an item goes over several lines")
    if not _BLANK_OR_COMMENT.fullmatch(text[item.end : end]):
        raise UnsafeError("an item shares its line with something else")
    return _Row(start=item.start - len(lead), end=_next_line(text, end), lead=lead)


def _flow_rows(text: str, node: Node, gaps: Sequence[str]) -> list[_Row]:
    """The items' rows if each has a line to itself, else none."""
    if not _BREAK.search(gaps[0]) or not _BREAK.search(gaps[-1]):
        return []
    rows = []
    for item in node.items:
        start, end = _line_start(text, item.start), _line_end(text, item.end)
        rest = _COMMA_OR_COMMENT.fullmatch(text[item.end : end])
        lead = text[start : item.start]
        if lead.strip(" \t") or rest is None or _BREAK.search(text, item.start, item.end):
            return []
        rows.append(_Row(start=start, end=_next_line(text, end), lead=lead, comma=bool(rest[1])))
    return rows


def _common_quote(text: str, node: Node) -> str:
    """The quotes that all items have; none where they have not."""
    quotes = {text[item.start] for item in node.items}
    return quotes.pop() if quotes in ({"'"}, {'"'}) else ""


def _is_string(value: str) -> bool:
    resolver: Any = yaml.SafeLoader("")
    return bool(resolver.resolve(yaml.ScalarNode, value, (True, False)) == _STRING)


def _line_start(text: str, position: int) -> int:
    return max(text.rfind(break_, 0, position) for break_ in _BREAKS) + 1


def _line_end(text: str, position: int) -> int:
    found = _BREAK.search(text, position)
    return found.start() if found else len(text)


def _next_line(text: str, line_end: int) -> int:
    found = _BREAK.match(text, line_end)
    return found.end() if found else line_end


def _ends_with_break(text: str) -> bool:
    return not text or _BREAK.fullmatch(text[-1]) is not None
