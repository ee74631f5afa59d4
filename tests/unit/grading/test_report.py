"""The grades as people read them, whatever the submissions have in them."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from moat_nb.errors import MoatError
from moat_nb.grading import report
from moat_nb.grading.assignment import NO_TESTS, Assignment
from moat_nb.grading.batch import Grade

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m\u202e\0&amp;{{ 7*7 }}"
GRADE = Grade(
    submission="ada",
    verdict="failed",
    detail="1 of 2 tests: b",
    points=1.5,
    of=2.0,
    seconds=1.25,
    digest="d",
    tests=[
        {"name": "a", "passed": True, "points": 1.5, "of": 1.5, "why": "", "hidden": True},
        {"name": "b", "passed": False, "points": 0.0, "of": 0.5, "why": "no", "hidden": False},
    ],
    cells=[{"number": 1, "source": "x = 1", "outcome": "ran", "error": "", "outputs": []}],
    written=["out.txt"],
)
BY_HAND = Assignment(cases=(), by_hand=(("essay", 3.0), ("plot", 0.5)))


def cell(*outputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    about = {"number": 1, "source": "x", "outcome": "ran", "error": ""}
    return {**about, "outputs": list(outputs), **more}


def page(*grades: Grade, assignment: Assignment = NO_TESTS, whole: bool = True) -> str:
    return report.as_page(grades, assignment, whole=whole)


# ---------------------------------------------------------------- the table


def test_the_table_has_a_line_for_each() -> None:
    other = replace(GRADE, submission="bob", verdict="passed", detail="", points=0, of=0)
    assert report.as_table([GRADE, other]).splitlines() == [
        "SUBMISSION  POINTS  VERDICT  WHY",
        "ada         1.5/2   failed   1 of 2 tests: b",
        "bob         -       passed",
    ]


def test_a_spreadsheet_has_a_line_for_each_and_a_column_for_each_test() -> None:
    other = replace(GRADE, submission="bob", verdict="unreadable", detail="", points=0, tests=[])
    assert report.as_csv([GRADE, other]) == (
        "submission,points,of,verdict,why,a,b\n"
        "ada,1.5,2.0,failed,1 of 2 tests: b,1.5,0.0\n"
        "bob,0,2.0,unreadable,,0.0,0.0\n"
    )
    assert report.as_csv([]) == "submission,points,of,verdict,why\n"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", 'a"b,c\nd'])
def test_nothing_of_a_submission_is_computed_by_a_spreadsheet(text: str) -> None:
    test = {**GRADE.tests[0], "name": text}
    made = report.as_csv([replace(GRADE, submission=text, detail=text, tests=[test])])
    head, row = csv.reader(io.StringIO(made))
    for shown in (head[5], row[0], row[4]):
        assert shown[0] not in "=+-@\t\r" and "\n" not in shown


def test_a_line_of_the_table_is_one_line_of_bounded_length() -> None:
    long = replace(GRADE, submission="a\nb\x1b[2J", detail="x\ny" * 200 + EVIL)
    _, line = report.as_table([long]).split("\n")
    assert len(line) < 250 and line.endswith("...") and line.isprintable()


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ([], "0 submissions: none graded"),
        (["passed"], "1 submission: 1 passed"),
        (["failed", "died", "passed", "failed"], "4 submissions: 1 passed, 2 failed, 1 died"),
    ],
)
def test_they_are_counted_by_verdict(kinds: list[str], words: str) -> None:
    assert report.counted([replace(GRADE, verdict=kind) for kind in kinds]) == words


def test_json_has_neither_sources_nor_outputs() -> None:
    found = report.as_json([replace(GRADE, cells=[cell({"x": 1})])], BY_HAND, whole=False)
    (one,) = found["submissions"]
    assert (found["complete"], found["by_hand"][0]) == (False, {"name": "essay", "points": 3.0})
    assert one["cells"] == [{"number": 1, "outcome": "ran", "error": ""}]
    assert "digest" not in one and one["points"] == 1.5


# ---------------------------------------------------------------- the page


class Tags(HTMLParser):
    """The tags of a page, and what in them could run or load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.bad: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            inner = name in ("src", "href") and not (value or "").startswith(("data:image/", "#"))
            if name.startswith("on") or inner:
                self.bad.append(f"{tag} {name}={value}")


ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h4", "p", "table", "tr", "th"),
    *("td", "a", "span", "pre", "details", "summary", "div", "img", "strong"),
}
OUTPUTS: list[dict[str, Any]] = [
    {"output_type": "stream", "name": "stdout", "text": EVIL},
    {"output_type": "stream"},
    {"output_type": "error", "ename": EVIL, "evalue": EVIL, "traceback": [EVIL, EVIL]},
    {"output_type": "error", "ename": "E", "evalue": EVIL, "traceback": []},
    {"output_type": "display_data", "data": {"text/plain": EVIL}},
    {"output_type": "display_data", "data": {"text/plain": 5}},
    {"output_type": "display_data", "data": {}},
    {"output_type": "display_data", "data": {"image/png": f"AAAA\n{EVIL}"}},
    {"output_type": "display_data", "data": {"image/svg+xml": EVIL, "text/plain": "svg"}},
    {
        "output_type": "execute_result",
        "data": {"text/html": "<iframe srcdoc=x>", "text/plain": "f"},
    },
]


def test_the_page_escapes_all_that_a_submission_says() -> None:
    tests = [{**GRADE.tests[1], "name": EVIL, "why": EVIL}]
    evil = replace(
        GRADE,
        submission=EVIL,
        detail=EVIL,
        tests=tests,
        cells=[cell(*OUTPUTS, source=EVIL, error=EVIL)],
        written=[EVIL],
    )
    text = page(evil, assignment=Assignment(cases=(), by_hand=((EVIL, 1.0),)))
    found = Tags(text)
    assert (found.tags - ALLOWED, found.bad) == (set(), [])
    assert "{{ 7*7 }}" in text
    assert "&lt;script&gt;" in text


def test_html_that_was_made_harmless_is_shown_as_it_is() -> None:
    data = {"text/html": "<b>bold</b>", "text/plain": "plain"}
    text = page(replace(GRADE, cells=[cell({"output_type": "display_data", "data": data})]))
    assert '<div class="output"><b>bold</b></div>' in text and "plain" not in text.split("bold")[1]


def test_the_page_allows_neither_scripts_nor_other_hosts() -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page(GRADE))
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_page_says_what_is_known_of_each() -> None:
    text = page(GRADE, assignment=BY_HAND, whole=False)
    for words in (
        "1 submission: 1 failed",
        "essay (3), plot (0.5).",
        "some submissions are missing",
        "ada: 1.5/2, failed, 1.2 s",
        "a (hidden)",
        "1.5/1.5",
        "It wrote: out.txt",
        "x = 1",
    ):
        assert words in text
    assert "missing" not in page(GRADE)


def test_a_long_output_is_cut() -> None:
    output = {"output_type": "stream", "name": "stdout", "text": "y" * 300_000}
    text = page(replace(GRADE, cells=[cell(output)]))
    assert 200_000 < len(text) < 210_000


def test_both_files_are_written_and_a_place_that_cannot_be_is_said(tmp_path: Path) -> None:
    path = report.write([GRADE], NO_TESTS, tmp_path / "a" / "b", whole=True)
    assert path == tmp_path / "a" / "b" / "report.html" and "ada" in path.read_text()
    assert json.loads((path.parent / "results.json").read_text())["complete"] is True
    (tmp_path / "file").write_text("")
    with pytest.raises(MoatError, match="no report was written"):
        report.write([GRADE], NO_TESTS, tmp_path / "file" / "b", whole=True)
