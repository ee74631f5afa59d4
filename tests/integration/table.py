"""The table of attacks, printed at the end of a run; its rows come with the reports of the tests,
so that those of all workers are in it. `make test` keeps it in docs/security.md."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from moat_nb.host.package import __version__
from moat_nb.text.terminal import one_line

DOCUMENT = "MOAT_TEST_ATTACKS"
"""The variable that names the file to renew the table in, after a run of all of them."""
BEGIN, END = "<!-- begin: make test -->\n", "<!-- end -->\n"
HEAD = ("attack", "runtime", "expected", "happened", "control")


@dataclass
class Table:
    """``(attack, runtime, expected, happened, control)`` of each row that was run."""

    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    def add(self, *row: str) -> None:
        attack, runtime, expected, happened, control = row
        self.rows.append((attack, runtime, expected, happened, control))

    def text(self) -> str:
        rows = [HEAD, *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
        lines = (
            "  ".join(word.ljust(w) for word, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )
        return "\n".join(lines) + "\n"

    def markdown(self) -> str:
        """By attack and runtime, in an order that does not change from run to run."""
        rows = [HEAD, ("---",) * len(HEAD), *sorted(set(self.rows))]
        return "".join(f"| {' | '.join(map(_cell, row))} |\n" for row in rows)

    def renew(self, path: Path, versions: str) -> None:
        """Put the table in the place of the one in ``path``."""
        before, begin, rest = path.read_text().partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise ValueError(f"{path} has no place for the table")
        path.write_text(f"{before}{BEGIN}{versions}\n\n{self.markdown()}{END}{after}")


def versions() -> str:
    """Of what the attacks were tried on, with the day, in a line."""
    found = [f"moat-nb {__version__}", f"Linux {platform.release()}"]
    for name, argv in (("Docker", ["dockerd", "--version"]), ("", ["bwrap", "--version"])):
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        found.append(f"{name} {said.split(',')[0].removeprefix('Docker version').strip()}".strip())
    user = "root" if os.getuid() == 0 else "an ordinary user"
    today = datetime.datetime.now(tz=datetime.timezone.utc).date()
    return (
        f"{today}, by a launcher of {user}: {', '.join(found)}, Python {platform.python_version()}."
    )


def _cell(text: str) -> str:
    return one_line(text).replace("|", "\\|")


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
        if path := os.environ.get(DOCUMENT):
            ROWS.renew(Path(path), versions())
