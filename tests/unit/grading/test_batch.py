"""Many submissions, and what is kept of each; what a sandbox would have seen is given here."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moat_nb.errors import MoatError
from moat_nb.grading import batch as batches
from moat_nb.grading.assignment import Assignment, Case
from moat_nb.grading.batch import Batch, Grade
from moat_nb.grading.outputs import Outputs
from moat_nb.grading.run import Limits, Material
from moat_nb.grading.submissions import Cell, Submission, find
from moat_nb.grading.verdict import CellRun, Run, TestRun
from moat_nb.host.machine import Host
from moat_nb.sandbox.project import plan_project
from tests.unit.projects import NO_ENGINE, Make

CASES = (Case(name="a", source="assert 1", form="code", points=2.0),)
PASSED = TestRun(name="a", passed=True, points=2.0, of=2.0)
RAN = CellRun(number=1, outcome="ran")
SEEN = Run(cells=(RAN,), tests=(PASSED,), written=("out.txt",))


class Runs:
    """In place of a sandbox: what is seen of each submission, and which were run."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.seen: dict[str, Run] = {}
        self.before: Callable[[Submission], None] = lambda submission: None

    def __call__(
        self, submission: Submission, material: Material, scratch: Path
    ) -> tuple[Run, tuple[Cell, ...], Outputs]:
        assert list(scratch.iterdir()) == []
        (scratch / "work").mkdir()
        self.names.append(submission.name)
        self.before(submission)
        outputs = Outputs()
        outputs.begin(1, threading.Event())
        outputs.show("stream", {"name": "stdout", "text": "shown"}, [])
        cells = (Cell(number=1, source="x = 1"),)
        return self.seen.get(submission.name, SEEN), cells, outputs


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()
    monkeypatch.setattr(batches, "run_submission", made)
    return made


@pytest.fixture
def batch(tmp_path: Path, host: Host, config: Make) -> Batch:
    plan = plan_project(config(), "docker", host=host, environ=NO_ENGINE)
    assignment = Assignment(cases=CASES, digest="tests")
    material = Material(plan=plan, assignment=assignment)
    return Batch(material=material, directory=tmp_path / "grades", jobs=2)


@pytest.fixture
def students(tmp_path: Path) -> list[Submission]:
    paths = [tmp_path / "in" / name for name in ("ada", "bob", "cyd")]
    for path in paths:
        path.mkdir(parents=True)
        (path / "ps1.ipynb").write_text('{"cells": [], "nbformat": 4}')
    return find(paths, None)


def graded(batch: Batch, submissions: list[Submission]) -> list[Grade]:
    grades, whole = batch.grade(submissions, lambda grade: None)
    assert whole
    return grades


def test_each_is_graded_and_told_and_all_are_in_order(
    runs: Runs, batch: Batch, students: list[Submission]
) -> None:
    runs.seen["bob"] = Run(unreadable="no JSON")
    told: list[str] = []
    grades, whole = batch.grade(students, lambda grade: told.append(grade.submission))
    assert whole and sorted(told) == ["ada", "bob", "cyd"]
    assert [(one.submission, one.verdict, one.points, one.of) for one in grades] == [
        ("ada", "passed", 2.0, 2.0),
        ("bob", "unreadable", 0, 2.0),
        ("cyd", "passed", 2.0, 2.0),
    ]
    (cell,) = grades[0].cells
    assert (cell["source"], cell["outputs"][0]["text"]) == ("x = 1", "shown")
    assert grades[0].written == ["out.txt"]


def test_a_grade_is_kept_as_it_is(runs: Runs, batch: Batch, students: list[Submission]) -> None:
    (grade, *_) = graded(batch, students)
    kept = json.loads((batch.directory / "submissions" / "ada.json").read_text())
    assert Grade(**kept) == grade


def test_a_summary_has_neither_sources_nor_outputs(
    runs: Runs, batch: Batch, students: list[Submission]
) -> None:
    summary = graded(batch, students)[0].summary()
    assert summary["cells"] == [{"number": 1, "outcome": "ran", "error": ""}]
    assert "digest" not in summary and "shown" not in json.dumps(summary)


def again(runs: Runs, batch: Batch, students: list[Submission]) -> list[str]:
    """Who is run, where the results stand that are there already."""
    runs.names.clear()
    graded(replace(batch, resume=True), students)
    return sorted(runs.names)


def test_with_resume_nobody_is_run_twice(
    runs: Runs, batch: Batch, students: list[Submission]
) -> None:
    first = graded(batch, students)
    assert again(runs, batch, students) == []
    assert graded(replace(batch, resume=True), students) == first
    runs.names.clear()
    graded(batch, students)
    assert sorted(runs.names) == ["ada", "bob", "cyd"]


def test_with_resume_who_handed_in_anew_is_run(
    runs: Runs, batch: Batch, students: list[Submission], tmp_path: Path
) -> None:
    graded(batch, students)
    (tmp_path / "in" / "bob" / "data.csv").write_text("new")
    assert again(runs, batch, students) == ["bob"]


def test_with_resume_who_was_not_graded_is_run(
    runs: Runs, batch: Batch, students: list[Submission]
) -> None:
    runs.seen["cyd"] = Run(not_started="no engine")
    graded(batch, students)
    assert again(runs, batch, students) == ["cyd"]


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "{nonsense", '{"submission": "ada"}'])
def test_with_resume_a_result_that_is_none_is_made_anew(
    runs: Runs, batch: Batch, students: list[Submission], text: str
) -> None:
    graded(batch, students)
    (batch.directory / "submissions" / "ada.json").write_text(text)
    assert again(runs, batch, students) == ["ada"]


def test_with_resume_another_ones_result_does_not_stand(
    runs: Runs, batch: Batch, students: list[Submission]
) -> None:
    graded(batch, students)
    kept = batch.directory / "submissions"
    (kept / "ada.json").write_text((kept / "bob.json").read_text())
    assert again(runs, batch, students) == ["ada"]


def test_with_resume_other_tests_limits_or_data_run_all(
    runs: Runs, batch: Batch, students: list[Submission], tmp_path: Path
) -> None:
    data = tmp_path / "data" / "deep"
    data.mkdir(parents=True)
    (data / "a.csv").write_text("1")
    batch = replace(batch, material=replace(batch.material, beside=(data.parent,)))
    graded(batch, students)
    assert again(runs, batch, students) == []
    (data / "a.csv").write_text("23")
    assert len(again(runs, batch, students)) == 3
    other = Assignment(cases=CASES, digest="other tests")
    for material in (
        replace(batch.material, assignment=other),
        replace(batch.material, limits=Limits(cell=5)),
        replace(batch.material, beside=()),
    ):
        assert len(again(runs, replace(batch, material=material), students)) == 3


@pytest.mark.parametrize("name", ["..", ".hidden", "a b", "é", "-x", "a" * 100, "a;b", "a\nb"])
def test_a_result_lies_in_its_directory_whatever_the_name(
    runs: Runs, batch: Batch, students: list[Submission], name: str
) -> None:
    student = replace(students[0], name=name)
    graded(batch, [student])
    (kept,) = (batch.directory / "submissions").iterdir()
    assert kept.suffix == ".json" and len(kept.stem) == 33 and kept.stem[1:].isalnum()
    assert again(runs, batch, [student]) == []


def test_an_interrupt_ends_it_and_what_was_graded_stands(
    runs: Runs, batch: Batch, students: list[Submission]
) -> None:
    def interrupted(grade: Grade) -> None:
        raise KeyboardInterrupt

    grades, whole = replace(batch, jobs=1).grade(students, interrupted)
    assert not whole
    assert [grade.submission for grade in grades] == ["ada"]
    assert batch.material.live.cancelled


def test_what_was_cancelled_while_it_ran_is_no_grade(
    runs: Runs, batch: Batch, students: list[Submission]
) -> None:
    runs.before = lambda submission: batch.material.live.stop()
    with pytest.raises(MoatError, match="interrupted"):
        graded(batch, students)
    assert not batch.directory.exists()


def test_nothing_is_left_of_the_copies(
    runs: Runs, batch: Batch, students: list[Submission], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    run = Runs()

    def noting(submission: Submission, material: Material, scratch: Path) -> Any:
        seen.append(scratch)
        assert scratch.parent.stat().st_mode & 0o777 == 0o700
        return run(submission, material, scratch)

    monkeypatch.setattr(batches, "run_submission", noting)
    graded(batch, students)
    assert len(set(seen)) == 3
    assert not [path for path in seen if path.exists() or path.parent.exists()]
