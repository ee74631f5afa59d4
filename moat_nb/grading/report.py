"""The grades of a class, for people: a table, and one page with what each notebook showed.

Names, sources and outputs are the submissions'. Outputs are harmless when they come here; all else
is escaped, and the page allows neither a script nor a look at another host.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from moat_nb.errors import MoatError
from moat_nb.grading.assignment import Assignment
from moat_nb.grading.batch import Grade
from moat_nb.grading.outputs import IMAGES, still
from moat_nb.grading.verdict import WORDS
from moat_nb.host.whole_file import write_whole
from moat_nb.text.tables import table
from moat_nb.text.terminal import one_line, printable, without_halves

__all__ = ["as_csv", "as_json", "as_table", "counted", "points", "write"]

LONGEST_DETAIL = 160
MAX_SHOWN = 200_000
"""Characters of one output in the page."""


def as_table(grades: Sequence[Grade]) -> str:
    rows = [("SUBMISSION", "POINTS", "VERDICT", "WHY")]
    for grade in grades:
        detail = one_line(_why(grade))
        if len(detail) > LONGEST_DETAIL:
            detail = f"{detail[:LONGEST_DETAIL]}..."
        rows.append((grade.submission, points(grade), grade.verdict, detail))
    return table(rows)


def _why(grade: Grade) -> str:
    return " ".join(grade.detail.split())  # lines of it could look like another row


def points(grade: Grade) -> str:
    return f"{grade.points:g}/{grade.of:g}" if grade.of else "-"


def counted(grades: Sequence[Grade]) -> str:
    """``40 submissions: 31 passed, 5 failed, 2 timed out, ...``"""
    counts = Counter(grade.verdict for grade in grades)
    words = ", ".join(f"{counts[kind]} {kind}" for kind in WORDS if counts[kind])
    return f"{len(grades)} submission{'s' if len(grades) != 1 else ''}: {words or 'none graded'}"


def as_json(grades: Sequence[Grade], assignment: Assignment, *, whole: bool) -> dict[str, Any]:
    by_hand = [{"name": name, "points": worth} for name, worth in assignment.by_hand]
    return {
        "complete": whole,
        "by_hand": by_hand,
        "submissions": [grade.summary() for grade in grades],
    }


def as_csv(grades: Sequence[Grade]) -> str:
    """A line for each, with a column for each test: for a spreadsheet, or a course's own site."""
    tests = list(dict.fromkeys(test["name"] for grade in grades for test in grade.tests))
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["submission", "points", "of", "verdict", "why", *map(_cell, tests)])
    for grade in grades:
        earned = {test["name"]: test["points"] for test in grade.tests}
        each = (earned.get(test, 0.0) for test in tests)
        name, why = _cell(grade.submission), _cell(_why(grade))
        table.writerow([name, grade.points, grade.of, grade.verdict, why, *each])
    return lines.getvalue()


def _cell(text: str) -> str:
    """A text that no spreadsheet computes: https://owasp.org/www-community/attacks/CSV_Injection"""
    text = one_line(text)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def write(grades: Sequence[Grade], assignment: Assignment, directory: Path, *, whole: bool) -> Path:
    """Write ``results.json``, ``results.csv`` and ``report.html``; the latter's path. Raises
    MoatError."""
    page = directory / "report.html"
    results = json.dumps(as_json(grades, assignment, whole=whole), indent=2)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_whole(directory / "results.json", f"{results}\n")
        write_whole(directory / "results.csv", as_csv(grades))
        write_whole(page, as_page(grades, assignment, whole=whole))
    except OSError as error:
        raise MoatError(f"{error.filename}: {error.strerror}; no report was written") from error
    return page


def as_page(grades: Sequence[Grade], assignment: Assignment, *, whole: bool) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        grades=grades,
        assignment=assignment,
        whole=whole,
        counted=counted(grades),
        points=points,
        words=WORDS,
        shown=_shown,
        plain=_plain,
        now=datetime.now(timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )


def _shown(output: dict[str, Any]) -> dict[str, str]:
    """How an output is shown: ``text``, ``error``, ``image`` (a data URL) or ``html``."""
    kind = output["output_type"]
    if kind == "stream":
        return {"text": _plain(output.get("text", ""))}
    if kind == "error":
        return {"error": _plain("\n".join(output.get("traceback") or [output.get("evalue", "")]))}
    data = still(output.get("data", {}))
    for image in IMAGES:
        if image in data:
            return {"image": f"data:{image};base64,{data[image]}"}
    if "text/html" in data:
        return {"html": data["text/html"]}
    return {"text": _plain(data["text/plain"])}


def _plain(text: str) -> str:
    shown = printable(without_halves(text[:MAX_SHOWN]))
    return f"{shown}\n..." if len(text) > MAX_SHOWN else shown
