"""What the conformance tests share: the suites, run side by side, and the table of results."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from moat_nb.host.machine import User
from tests.conformance.runner import Report, Workplace, fetch, pip, project_text
from tests.conformance.suites import PLUGINS, RUNS, Run
from tests.conformance.table import Results
from tests.conftest import Engine, make_project
from tests.integration.leftovers import Watch

SIDE_BY_SIDE = 2
"""Suites; they sleep for much of their time, so more than there are cores."""

RESULTS = pytest.StashKey[Results]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = Results()


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    results = config.stash[RESULTS]
    if results.reports:
        terminalreporter.section("conformance")
        terminalreporter.write(results.text() + results.seconds())
    path = os.environ.get("MOAT_TEST_TABLE")
    if path and exitstatus == pytest.ExitCode.OK and len(results.reports) == len(RUNS):
        results.renew(Path(path))


@pytest.fixture(scope="session")
def plugins(run_directory: Path) -> Path:
    """What the suites import; no test of ours does."""
    directory = run_directory / "plugins"
    pip("install", "--no-deps", "--target", str(directory), *PLUGINS)
    return directory


@pytest.fixture(scope="session")
def report_of(
    request: pytest.FixtureRequest, run_directory: Path, owner: User, plugins: Path
) -> Iterator[Callable[[Run], Report]]:
    """``report_of(run)`` waits for it: all that were collected start when the first is asked for,
    and other tests may run meanwhile."""
    collected = set(_collected(request.session.items))
    wanted = [run for run in RUNS if run.title in collected]
    engine: Engine | None = None
    if any(run.runtime == "docker" for run in wanted):
        engine = request.getfixturevalue("engine")
    workplaces: list[Workplace] = []

    def perform(run: Run) -> Report:
        project = make_project(run_directory, owner, project_text(run, plugins, engine))
        workplace, watch = Workplace.make(project, plugins, owner), Watch(project)
        workplaces.append(workplace)
        workplace.prepare(run, archives[run.suite.package])
        report = workplace.run(run)
        request.config.stash[RESULTS].reports[run.title] = report
        give_up = time.monotonic() + 60
        while (left := what_is_left(workplace, watch, engine)) and time.monotonic() < give_up:
            time.sleep(0.1)
        assert left == []
        return report

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        suites = {run.suite.package: run.suite for run in wanted}
        fetched = pool.map(lambda suite: fetch(suite, run_directory / "archives"), suites.values())
        archives = dict(zip(suites, fetched, strict=True))
        futures = {run.title: pool.submit(perform, run) for run in wanted}
        yield lambda run: futures[run.title].result()
        pool.shutdown(wait=False, cancel_futures=True)
        for workplace in workplaces:
            workplace.end()


def what_is_left(workplace: Workplace, watch: Watch, engine: Engine | None) -> list[str]:
    # Directories of the suite's user; those of the user who runs the tests are not its own.
    found = watch.left(engine, seconds=0)
    return [*(text for text in found if not text.startswith("directory")), *workplace.left()]


def _collected(items: list[pytest.Item]) -> Iterator[str]:
    """The titles of the runs that tests of this session ask for."""
    for item in items:
        if isinstance(item, pytest.Function) and "report_of" in item.fixturenames:
            run = item.callspec.params["run"]
            assert isinstance(run, Run)
            yield run.title
