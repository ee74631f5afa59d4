"""The table of attacks, printed at the end of a run; its rows come with the reports of the tests,
so that those of all workers are in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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


ROWS = Table()
PROPERTY = "attack"


@pytest.fixture
def table(record_property: Any) -> Any:
    """``table(attack, runtime, expected, happened, control)``: a row of the table."""
    return lambda *row: record_property(PROPERTY, row)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        for name, row in report.user_properties:
            if name == PROPERTY:
                ROWS.add(*row)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if ROWS.rows:
        terminalreporter.section("attacks")
        terminalreporter.write(ROWS.text())
