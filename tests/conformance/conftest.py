"""What the conformance tests share: fetched suites, their workplaces, and the table of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from moat_nb.host import User
from tests.conformance.runner import Report, Workplace, fetch, pip
from tests.conformance.suites import PLUGINS, Suite
from tests.conftest import Project
from tests.integration.leftovers import Watch

Place = Callable[[Suite, str], Workplace]


@dataclass
class Results:
    """``(suite, how, report)`` of each that was run."""

    rows: list[tuple[str, str, Report]] = field(default_factory=list)

    def text(self) -> str:
        head = f"{'suite':28}{'on':24}{'passed':>8}{'left out':>10}{'skipped':>9}{'failed':>8}\n"
        return head + "".join(
            f"{suite:28}{how:24}{report.passed:8}{report.left_out_tests:10}"
            f"{report.skipped:9}{len(report.failed):8}{report.seconds:8.0f} s\n"
            for suite, how, report in self.rows
        )


RESULTS = pytest.StashKey[Results]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = Results()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.stash[RESULTS].rows:
        terminalreporter.section("conformance")
        terminalreporter.write(config.stash[RESULTS].text())


@pytest.fixture
def results(pytestconfig: pytest.Config) -> Results:
    return pytestconfig.stash[RESULTS]


@pytest.fixture(scope="session")
def plugins(run_directory: Path) -> Path:
    directory = run_directory / "plugins"
    pip("install", "--no-deps", "--target", str(directory), *PLUGINS)
    return directory


@pytest.fixture(scope="session")
def archives(run_directory: Path) -> Path:
    directory = run_directory / "archives"
    directory.mkdir(mode=0o755)
    return directory


@pytest.fixture
def place(project: Project, owner: User, plugins: Path, archives: Path) -> Iterator[Place]:
    """``place(suite, moat_yaml)``: the suite in a project of its own; nothing may be left of it."""
    made: list[tuple[Workplace, Watch]] = []

    def make(suite: Suite, text: str) -> Workplace:
        workplace = Workplace.make(project(text), plugins, owner)
        made.append((workplace, Watch(workplace.project)))
        workplace.unpack(fetch(suite, archives))
        return workplace

    yield make
    for workplace, watch in made:
        # Directories of the suite's user; those of the user who runs the tests are not its own.
        processes = (text for text in watch.left(None, seconds=10) if text.startswith("process"))
        assert [*processes, *workplace.left()] == []
