"""The table of attacks, printed at the end of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest


@dataclass
class Table:
    """``(attack, runtime, expected, happened, control)`` of each row that was run."""

    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    def add(self, *row: str) -> None:
        attack, runtime, expected, happened, control = row
        self.rows.append((attack, runtime, expected, happened, control))

    def text(self) -> str:
        head = ("attack", "runtime", "expected", "happened", "control")
        rows = [head, *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = (
            "  ".join(word.ljust(w) for word, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )
        return "\n".join(lines) + "\n"


TABLE = pytest.StashKey[Table]()
