"""Suites that nobody here wrote pass with their kernels in sandboxes, but for what is left out.

Each is fetched from its source distribution, and runs as an ordinary user with his own home.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.runner import LIMIT_SECONDS, Report, read
from tests.conformance.suites import RUNS, Run
from tests.conformance.table import DOCUMENT, HEAD, Results, left_out


def each_run() -> list[object]:
    marks = {"docker": [pytest.mark.engine], "bubblewrap": []}
    return [pytest.param(run, marks=marks[run.runtime], id=run.title) for run in RUNS]


@pytest.mark.timeout(2 * LIMIT_SECONDS)
@pytest.mark.parametrize("run", each_run())
def test_a_suite_passes(run: Run, report_of: Callable[[Run], Report]) -> None:
    report = report_of(run)
    assert report.failed == (), report.output
    # A test that is left out and is not there any more would hide that its name has changed.
    assert report.left_out == run.suite.left_out
    assert report.passed >= run.passes, report.output


def test_the_bash_kernel_is_not_a_package_of_the_launchers() -> None:
    assert not list(Path(sys.prefix).glob("lib/python*/site-packages/bash_kernel"))


def test_the_document_has_every_run_with_what_passed_and_every_test_that_is_left_out() -> None:
    """Of whichever version a suite was then: a newer one is no reason to fail."""
    document = DOCUMENT.read_text()
    cells = [tuple(cell.strip() for cell in row.split("|")) for row in document.splitlines()]
    rows = [(row[1], *row[3:6]) for row in cells if len(row) == len(HEAD) + 2]
    wanted = [(run.suite.name, run.runtime, run.kernel, str(run.passes)) for run in RUNS]
    assert rows[2:] == wanted
    assert left_out() in document


REPORT = (
    "<testsuites><testsuite time='1.5'>"
    "<testcase classname='a' name='passes'/>"
    "<testcase classname='a' name='fails'><failure/></testcase>"
    "<testcase classname='a' name='breaks'><error/></testcase>"
    "<testcase classname='a' name='skips'><skipped message='Windows'/></testcase>"
    "<testcase classname='a' name='out'><skipped message='left out&#10;::out&#10;why'/></testcase>"
    "</testsuite></testsuites>"
)


def test_a_report_tells_failures_from_tests_left_out_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    report = read(path, "said")
    assert (report.passed, report.skipped, report.left_out_tests) == (1, 1, 1)
    assert report.failed == ("a::fails", "a::breaks")
    assert report.left_out == {"::out": "why"}
    assert report.seconds == 1.5


def test_the_table_is_put_in_the_place_of_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    report = read(tmp_path / "report.xml", "")
    document = tmp_path / "document.md"
    document.write_text("before\n<!-- begin: make test-conformance -->\nold\n<!-- end -->\nafter\n")
    Results(reports={RUNS[0].title: report}).renew(document)
    lines = document.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "old" not in lines
    assert lines[4].endswith("| bubblewrap | provisioner | 1 | 1 | 1 | 2 |")
