"""Summaries: facts and tables of one thing, as HTML for a notebook and as text for a terminal.

The HTML needs no script, style sheet or colour of the page. So it reads in light and in dark, in a
saved notebook, and where a front end strips all but the tables. A summary's text may come from a
sandbox: it is escaped, and kept to one line.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from moat_nb.text import tables
from moat_nb.text.terminal import one_line

__all__ = [
    "Badge",
    "Cell",
    "Level",
    "Sparkline",
    "Summary",
    "Table",
    "as_html",
    "as_text",
    "mimebundle",
]


Level: TypeAlias = Literal["good", "warn", "bad", "none"]


@dataclass(frozen=True, kw_only=True)
class Badge:
    """A word behind a dot; the dot's colour shows the level."""

    level: Level
    text: str


@dataclass(frozen=True, kw_only=True)
class Sparkline:
    """An amount and its history: ``values`` are of one unit, the oldest first."""

    text: str
    values: tuple[float, ...] = ()
    seconds: float = 0.0
    """Between the first value and the last."""


Cell: TypeAlias = str | Badge | Sparkline


@dataclass(frozen=True, kw_only=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    title: str
    mark: Badge | None = None
    words: str = ""
    """A paragraph below the title, with line breaks of its own."""
    facts: tuple[tuple[str, Cell], ...] = ()
    tables: tuple[Table, ...] = ()
    """Tables without rows are left out."""


def mimebundle(summary: Summary) -> dict[str, str]:
    """What ``_repr_mimebundle_`` returns."""
    return {"text/plain": as_text(summary), "text/html": as_html(summary)}


# ---------------------------------------------------------------- text

BLOCKS = "▁▂▃▄▅▆▇█"
BLOCKS_SHOWN = 12
"""Characters. More values are grouped, and a block shows the largest of its group."""


def as_text(summary: Summary) -> str:
    title = summary.title + (f", {summary.mark.text}" if summary.mark else "")
    lines = [one_line(title), *(one_line(line) for line in summary.words.splitlines())]
    parts = ["\n".join(lines)]
    if summary.facts:
        facts = ((one_line(name), _plain(value)) for name, value in summary.facts)
        parts[0] += "\n" + tables.fields(facts)
    for table in summary.tables:
        if table.rows:
            head = tuple(column.upper() for column in table.columns)
            rows = [head, *(tuple(map(_plain, row)) for row in table.rows)]
            parts.append(f"{one_line(table.title)}\n{tables.table(rows, indent=2)}")
    return "\n\n".join(parts)


def _plain(cell: Cell) -> str:
    if isinstance(cell, Sparkline):
        return f"{_blocks(cell.values)} {cell.text}".strip()
    return cell if isinstance(cell, str) else cell.text


def _blocks(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    step = -(-len(values) // BLOCKS_SHOWN)
    # From the newest backward, so that the last block is whole.
    largest = [max(values[max(0, end - step) : end]) for end in range(len(values), 0, -step)][::-1]
    top = max(largest) or 1
    return "".join(BLOCKS[round(value / top * (len(BLOCKS) - 1))] for value in largest)


# ---------------------------------------------------------------- HTML

LINE = "rgba(128,128,128,.35)"
DOTS: dict[Level, str] = {"good": "#1a9850", "warn": "#c77c11", "bad": "#d9423a", "none": "#8a8a8a"}
"""Each stands out (3 to 1) from a white page and from Jupyter's dark one."""
CURVE = "#4c8bf5"

BOX = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.5;max-width:60em"
# Jupyter's own rules for tables are undone: they centre, stripe and align to the right.
TABLE = "border-collapse:collapse;margin:2px 0 0 0;table-layout:auto"
ROW = "background:none"
CELL = "text-align:left;vertical-align:top;padding:1px 14px 1px 0;border:0;max-width:none"
HEAD = f"{CELL};font-weight:normal;opacity:.75"
RULED = f"{CELL};border-top:1px solid {LINE};font-variant-numeric:tabular-nums"
WORDS = "white-space:pre-wrap;margin:2px 0;font-family:ui-monospace,monospace;font-size:12px"

SHORT = 20
"""Characters that stay in one line."""

WIDTH, HEIGHT = 72, 16
"""Pixels of a curve."""


def as_html(summary: Summary) -> str:
    parts = [f"<div><b>{_escaped(summary.title)}</b>"]
    if summary.mark:
        parts.append(f" &nbsp;{_html(summary.mark)}")
    parts.append("</div>")
    if summary.words:
        words = "\n".join(_escaped(line) for line in summary.words.splitlines())
        parts.append(f'<pre style="{WORDS}">{words}</pre>')
    if summary.facts:
        parts.append(
            _table((_fact(name, value) for name, value in summary.facts), label=summary.title)
        )
    for table in summary.tables:
        if table.rows:
            parts.append(f'<div style="margin-top:8px"><b>{_escaped(table.title)}</b></div>')
            parts.append(_table(_rows(table), label=table.title))
    return f'<div style="{BOX}">{"".join(parts)}</div>'


def _fact(name: str, value: Cell) -> str:
    return _row(
        (
            f'<th scope="row" style="{HEAD}">{_escaped(name)}</th>',
            f'<td style="{CELL}">{_html(value)}</td>',
        )
    )


def _rows(table: Table) -> Iterator[str]:
    yield _row(f'<th scope="col" style="{HEAD}">{_escaped(name)}</th>' for name in table.columns)
    for row in table.rows:
        yield _row(f'<td style="{RULED}{_breaks(cell)}">{_html(cell)}</td>' for cell in row)


def _breaks(cell: Cell) -> str:
    # A browser breaks a short cell before it widens a long one.
    return ";white-space:nowrap" if len(_plain(cell)) <= SHORT else ""


def _table(rows: Iterable[str], label: str) -> str:
    return f'<table style="{TABLE}" aria-label="{_escaped(label)}">{"".join(rows)}</table>'


def _row(cells: Iterable[str]) -> str:
    return f'<tr style="{ROW}">{"".join(cells)}</tr>'


def _html(cell: Cell) -> str:
    if isinstance(cell, Badge):
        # A character, so that it shows where styles are stripped.
        dot = f'<span style="color:{DOTS[cell.level]}" aria-hidden="true">&#9679;</span>'
        return f"{dot} {_escaped(cell.text)}"
    if isinstance(cell, Sparkline):
        return f"{_escaped(cell.text)} {_curve(cell)}".strip()
    return _escaped(cell)


def _escaped(text: str) -> str:
    return html.escape(one_line(text))


def _curve(trend: Sparkline) -> str:
    """An ``img``: front ends that strip SVG from the page keep it."""
    if len(trend.values) < 2:
        return ""
    top = max(trend.values) or 1
    step = WIDTH / (len(trend.values) - 1)
    points = " ".join(
        f"{index * step:.1f},{HEIGHT - 1 - value / top * (HEIGHT - 2):.1f}"
        for index, value in enumerate(trend.values)
    )
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">'
        f'<polyline fill="none" stroke="{CURVE}" stroke-width="1.5" points="{points}"/></svg>'
    )
    source = base64.b64encode(drawing.encode()).decode()
    caption = f"over the last {tables.duration(trend.seconds)}"
    return (
        f'<img src="data:image/svg+xml;base64,{source}" width="{WIDTH}" height="{HEIGHT}" '
        f'alt="{caption}" title="{caption}" style="display:inline;vertical-align:middle;margin:0">'
    )
