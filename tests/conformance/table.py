"""What the suites came to, in Markdown: printed after a run, and kept in docs/conformance.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.conformance.runner import Report
from tests.conformance.suites import RUNS, Run

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"
BEGIN, END = "<!-- begin: make test-conformance -->\n", "<!-- end -->\n"
HEAD = ("suite", "version", "on", "kernel", "passed", "left out", "skipped by itself", "failed")


@dataclass
class Results:
    reports: dict[str, Report] = field(default_factory=dict)
    """Of each run, by its title."""

    def text(self) -> str:
        """A run a line."""
        rows = [
            HEAD,
            *(_cells(run, self.reports[run.title]) for run in RUNS if run.title in self.reports),
        ]
        rows.insert(1, ("---",) * len(HEAD))
        return "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def seconds(self) -> str:
        return "".join(f"{title}: {r.seconds:.0f} s\n" for title, r in self.reports.items())

    def renew(self, path: Path) -> None:
        """Put what was measured in the place of what stands in ``path``."""
        before, _, rest = path.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        path.write_text(f"{before}{BEGIN}{self.text()}\n{left_out()}{END}{after}")


def left_out() -> str:
    """Every test that is left out, with its reason."""
    entries = {
        f"- {run.suite.package}, `{part}`: {reason}.\n"
        for run in RUNS
        for part, reason in run.suite.left_out.items()
    }
    return "Left out:\n\n" + "".join(sorted(entries))


def _cells(run: Run, report: Report) -> tuple[str, ...]:
    numbers = (report.passed, report.left_out_tests, report.skipped, len(report.failed))
    return (run.suite.name, run.suite.version, run.runtime, run.kernel, *map(str, numbers))
