"""Suites that nobody here wrote pass with the moat provisioner, but for those left out.

Each is fetched from its source distribution, and runs as an ordinary user with his own home.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conformance.conftest import Place, Results
from tests.conformance.runner import Report, moat_yaml, read
from tests.conformance.suites import CLIENT, NBCLIENT, SERVER, Suite

PROVISIONER = {"JUPYTER_DEFAULT_PROVISIONER_NAME": "moat"}

LANES = ((CLIENT,), (SERVER, NBCLIENT))
"""What runs side by side: jupyter_client's suite sleeps for most of its time."""


@pytest.mark.timeout(900)
def test_every_suite_passes_with_each_kernel_in_a_sandbox(place: Place, results: Results) -> None:
    def run(suite: Suite) -> Report:
        report = places[suite.package].run(suite, PROVISIONER)
        results.rows.append((f"{suite.package} {suite.version}", "bubblewrap", report))
        return report

    suites = [suite for lane in LANES for suite in lane]
    places = {s.package: place(s, moat_yaml("bubblewrap", env=s.env)) for s in suites}
    with ThreadPoolExecutor() as pool:
        lanes = pool.map(lambda lane: [run(suite) for suite in lane], LANES)
    reports = dict(zip(places, (report for lane in lanes for report in lane), strict=True))
    assert {name: report.failed for name, report in reports.items()} == dict.fromkeys(places, ())
    # A test that is left out and is not there any more would hide that its name has changed.
    assert {s.package: s.left_out for s in suites} == {n: r.left_out for n, r in reports.items()}
    assert all(report.passed > 50 for report in reports.values())


def test_a_report_tells_failures_from_tests_left_out_and_skipped(tmp_path: Path) -> None:
    cases = (
        "<testcase classname='a' name='passes'/>"
        "<testcase classname='a' name='fails'><failure/></testcase>"
        "<testcase classname='a' name='breaks'><error/></testcase>"
        "<testcase classname='a' name='skips'><skipped message='Windows'/></testcase>"
        "<testcase classname='a' name='out'><skipped message='left out&#10;::out&#10;why'/>"
        "</testcase>"
    )
    path = tmp_path / "report.xml"
    path.write_text(f"<testsuites><testsuite time='1.5'>{cases}</testsuite></testsuites>")
    report = read(path)
    assert (report.passed, report.skipped, report.left_out_tests) == (1, 1, 1)
    assert report.failed == ("a::fails", "a::breaks")
    assert report.left_out == {"::out": "why"}
    assert report.seconds == 1.5
