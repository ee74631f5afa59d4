"""`moat-nb grade` on real sandboxes; tests/grading has a whole class, and those who cheat."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from moat_nb.cli.bench import grading
from moat_nb.cli.main import main
from tests.integration.conftest import Launcher

TESTS = """\
def test_sorts():
    given = [3, 1, 2]
    order(given)
    assert given == [1, 2, 3]

def test_applies():
    assert apply(lambda n: n * 2, [1, 2]) == [2, 4]

def test_counts():
    import contextlib, io
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        assert Counter().next() == 1
    assert shown.getvalue() == "counted" + chr(10)
"""

ANSWER = """\
def order(items):
    items.sort()
def apply(function, items):
    return [function(item) for item in items]
class Counter:
    def next(self):
        print("counted")
        return len(open("data.txt").read())
"""

ALWAYS = """\
class Yes:
    __eq__ = lambda self, other: True
    __getattr__ = lambda self, name: self
    __call__ = lambda self, *a, **k: self
order = apply = Counter = Yes()
open('moat.yaml', 'w').write('hooks: {pre_run: touch /tmp/mine}')
"""


@pytest.fixture
def course(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = launcher.project(python=True, container={"memory": 1024})
    (made / "tests.py").write_text(TESTS)
    (made / "data.txt").write_text("x")
    students = {"ada": [ANSWER], "bob": [f"{ANSWER}\ndef order(items): return items", "1 / 0"]}
    for student, cells in {**students, "eve": [ALWAYS]}.items():
        place = made / "handed-in" / student
        place.mkdir(parents=True)
        new = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=new), place / "ps1.ipynb")
    for path in made.rglob("*"):
        launcher.give(path, launcher.owner)
    monkeypatch.chdir(made)
    return made


def grade(course: Path, launcher: Launcher, *options: str) -> int:
    students = sorted(str(path) for path in (course / "handed-in").iterdir())
    tests = ("--tests", "tests.py", "--with", "data.txt", "--runtime", launcher.runtime)
    return main(["grade", *students, *tests, *options])


def test_each_has_a_verdict_and_the_points_it_earned(
    launcher: Launcher, course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grade(course, launcher) == 0
    shown = capsys.readouterr().out
    results = json.loads((course / "grades/results.json").read_text())
    found = {one["submission"]: one for one in results["submissions"]}
    assert {name: one["verdict"] for name, one in found.items()} == {
        "ada": "passed",
        "bob": "failed",
        "eve": "wrote outside",
    }
    assert {name: one["points"] for name, one in found.items()} == {"ada": 3, "bob": 2, "eve": 0}
    assert "cell 2: ZeroDivisionError: division by zero" in found["bob"]["detail"]
    assert "3 submissions: 1 passed, 1 failed, 1 wrote outside" in shown
    page = (course / "grades/report.html").read_text()
    assert "ZeroDivisionError" in page and "<script" not in page
    assert not (course / "handed-in/eve/moat.yaml").exists()


PARTS = [
    ("answer = 1", {"solution": True, "grade_id": "a"}),
    ("assert answer == 1", {"grade": True, "grade_id": "first", "points": 1}),
    ("answer = 2", {"solution": True, "grade_id": "b"}),
    ("doubled = answer * 2", {"locked": True, "grade_id": "c"}),
    ("assert doubled == 4", {"grade": True, "grade_id": "second", "points": 1}),
    ("0.5 * answer", {"grade": True, "grade_id": "third", "points": 2}),
]


def test_a_test_of_a_notebook_runs_where_it_stands(
    launcher: Launcher, course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And may give a part of its points."""
    for directory, left_out in ((course, ""), (course / "ada", "b"), (course / "eve", "a")):
        cells = [
            nbformat.v4.new_code_cell(source, metadata={"nbgrader": about})
            for source, about in PARTS
            if about["grade_id"] != left_out
        ]
        directory.mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), directory / "ps1.ipynb")
    words = ["ada", "eve", "ps1.ipynb", "--tests", "ps1.ipynb", "--runtime", launcher.runtime]
    assert main(["grade", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["submissions"]
    assert [[test["points"] for test in one["tests"]] for one in found] == [
        [1, 0, 0.5],
        [0, 1, 1],
        [1, 1, 1],
    ]


def test_without_tests_a_submission_passes_whose_cells_run(
    launcher: Launcher, course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    students = [str(course / "handed-in" / name) for name in ("ada", "bob")]
    assert main(["grade", *students, "--runtime", launcher.runtime, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["submissions"]
    assert [(one["submission"], one["verdict"]) for one in found] == [
        ("ada", "passed"),
        ("bob", "failed"),
    ]


def test_a_class_is_measured_beside_plain_kernels(
    launcher: Launcher,
    course: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grading, "STUDENTS", 2)
    assert main(["bench", "--grade", "--runs", "1", "--runtime", launcher.runtime]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("2 submissions, ") and f"{launcher.runtime}:\nplain kernels " in shown
