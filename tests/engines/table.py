"""The table of engines and behaviours: printed at the end of a run, and kept in docs/engines.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

BEGIN, END = "<!-- begin: make test-engines -->\n", "<!-- end -->\n"
HOLDS, FAILS = "yes", "FAILS"


@dataclass
class Table:
    """``cells[behaviour][engine]``: what the worst of a behaviour's tests came to."""

    engines: dict[str, str] = field(default_factory=dict)
    """``{id: title}``, in the order in which they ran."""
    cells: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, behaviour: str, engine: str, report: pytest.TestReport) -> None:
        """One phase of a test; what is expected to fail has its cell as xfail's reason."""
        row = self.cells[behaviour]
        if cell := getattr(report, "wasxfail", None):
            row[engine] = row.get(engine, HOLDS).replace(HOLDS, cell)
        elif not report.passed:
            row[engine] = FAILS
        else:
            row.setdefault(engine, HOLDS)

    def text(self) -> str:
        """In Markdown, aligned: a behaviour a line."""
        rows = [["", *self.engines.values()]]
        rows += [
            [behaviour, *(row.get(engine, "not run") for engine in self.engines)]
            for behaviour, row in self.cells.items()
        ]
        widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
        rows.insert(1, ["-" * width for width in widths])
        lines = (
            " | ".join(word.ljust(width) for word, width in zip(row, widths, strict=True))
            for row in rows
        )
        return "".join(f"| {line} |\n" for line in lines)

    def renew(self, path: Path) -> None:
        """Put the table in the place of the one in ``path``."""
        before, _, rest = path.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        path.write_text(before + BEGIN + self.text() + END + after)


TABLE = pytest.StashKey[Table]()
