"""Plain aligned text for people: no colours, no lines, for 80 columns.

A sandbox may choose file names, so characters that do not print are replaced.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from moat_nb.text.terminal import one_line

__all__ = ["amount", "duration", "fields", "table"]

WIDTH = 80


def table(rows: Sequence[Sequence[str]], indent: int = 0) -> str:
    """``rows`` in columns; the last column may be of any width, so put paths there."""
    if not rows:
        return ""
    rows = [tuple(map(one_line, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(" " * indent + line for line in lines)


def fields(pairs: Iterable[tuple[str, str]], column: int = 12) -> str:
    """``name  value`` lines, values wrapped and aligned at ``column``."""
    return "\n".join(wrap(value, name.ljust(column), " " * column) for name, value in pairs)


def wrap(text: str, first: str, rest: str) -> str:
    """``text`` behind ``first``, its further lines behind ``rest``; no word is broken."""
    return textwrap.fill(
        one_line(text.replace("\n", " ")),
        width=WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def amount(count: int) -> str:
    """Bytes as ``20 KiB``, ``64 MiB`` or ``1.5 GiB``."""
    if count >= 1 << 30:
        return f"{count / (1 << 30):.3g} GiB"
    if count >= 1 << 20:
        return f"{count / (1 << 20):.4g} MiB"
    if count >= 1 << 10:
        return f"{count / (1 << 10):.4g} KiB"
    return f"{count} bytes"


def duration(seconds: float) -> str:
    """Seconds as ``12 s``, ``5 min``, ``3 h`` or ``2 d``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"
