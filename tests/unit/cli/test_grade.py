"""`moat-nb grade`, as far as it goes without a sandbox."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moat_nb.cli import grade as command
from moat_nb.cli.grade_command import _count, _seconds
from moat_nb.cli.parser import parser
from moat_nb.errors import MoatError
from moat_nb.grading.assignment import NO_TESTS, Assignment
from moat_nb.grading.batch import Grade
from tests.unit.grading import test_report

GRADE = replace(test_report.GRADE, verdict="passed", detail="", points=2.0, tests=[], cells=[])


def parsed(*words: str) -> argparse.Namespace:
    return parser().parse_args(["grade", *words])


def test_the_options_have_their_defaults() -> None:
    found = parsed("a", "b")
    assert found.submissions == [Path("a"), Path("b")]
    assert (found.cell_timeout, found.test_timeout, found.timeout) == (60.0, 30.0, 600.0)
    assert (found.tests, found.beside, found.jobs, found.out) == (None, [], None, Path("grades"))


def test_what_lies_beside_may_be_repeated() -> None:
    assert parsed("a", "--with", "x", "--with", "y").beside == [Path("x"), Path("y")]


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "many", "1e3"])
def test_a_bad_number_of_submissions_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no number of submissions from 1 on"):
        _count(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "-inf", "1e999", "", "long"])
def test_a_bad_number_of_seconds_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no number of seconds above 0"):
        _seconds(text)


def test_good_numbers_are_read() -> None:
    found = parsed("a", "-j", "3", "--timeout", "1e3", "--cell-timeout", "0.5")
    assert (found.jobs, found.timeout, found.cell_timeout) == (3, 1000.0, 0.5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody"], "nobody: No such file"),
        (["ada", "--tests", "no.py"], "no.py: "),
        (["ada", "--with", "no-data"], "no-data: no such file or directory"),
        (["ada", "ada"], "would both be graded as ada"),
    ],
)
def test_what_is_not_there_is_said_before_anything_starts(
    directory: Path, monkeypatch: pytest.MonkeyPatch, words: Sequence[str], said: str
) -> None:
    monkeypatch.chdir(directory)
    (directory / "ada").mkdir()
    with pytest.raises(MoatError, match=said):
        command.grade(parsed(*words))
    assert not (directory / "grades").exists()


@pytest.mark.parametrize(
    ("kinds", "whole", "code"),
    [
        (["passed", "failed", "died", "unreadable"], True, 0),
        (["passed", "not graded"], True, 1),
        (["passed"], False, 130),
        (["not graded"], False, 130),
    ],
)
def test_the_exit_code_says_whether_all_were_graded(
    directory: Path, monkeypatch: pytest.MonkeyPatch, kinds: list[str], whole: bool, code: int
) -> None:
    names = [f"s{number}" for number in range(len(kinds))]
    for name in names:
        (directory / name).mkdir()
    monkeypatch.chdir(directory)
    made = [
        replace(GRADE, submission=name, verdict=kind)
        for name, kind in zip(names, kinds, strict=True)
    ]
    seen: list[Any] = []

    def graded(batch: Any, submissions: Any) -> tuple[list[Grade], bool]:
        seen.append(batch)
        return made, whole

    monkeypatch.setattr(command, "_graded", graded)
    monkeypatch.setattr(command, "build_images", lambda plan: None)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    monkeypatch.setattr(command, "check", lambda plan, ask: None)
    words = [*names, "--project", str(directory), "--runtime", "docker", "--with", ".."]
    assert command.grade(parsed(*words)) == code
    assert json.loads((directory / "grades" / "results.json").read_text())["complete"] is whole
    (batch,) = seen
    assert batch.material.beside == (directory.parent,)
    assert 1 <= batch.jobs <= len(names)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("", "(no network.policy); "),
        ("network: {policy: permissive}\n", "(network.policy: permissive); "),
        ("network: {policy: none}\n", None),
    ],
)
def test_that_the_network_may_be_reached_is_said(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    network: str,
    said: str | None,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    (directory / "moat.yaml").write_text(f"name: course\n{network}")
    command._say_what_is_loose(command.plan_project(directory, "docker"))
    heard = capsys.readouterr().err
    assert said in heard if said else heard == ""


def test_which_limits_a_grading_has_is_said(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "moat.yaml").write_text("name: course\nnetwork: {policy: none}\n")
    command._say_what_is_loose(command.plan_project(directory, "bubblewrap"))
    assert capsys.readouterr().err.startswith("moat-nb: limits: ")


@pytest.mark.parametrize(
    ("count", "named"),
    [(1, "a0 (in g)"), (3, "a0, a1, a2 (in g)"), (5, "a0, a1, a2 and 2 more (in g)")],
)
@pytest.mark.parametrize(
    ("resume", "then"),
    [(True, "they stand"), (False, "with --resume they would stand in the report")],
)
def test_who_was_graded_before_is_named(count: int, named: str, resume: bool, then: str) -> None:
    others = [replace(GRADE, submission=f"a{number}") for number in range(count)]
    said = command._before(others, Path("g"), resume=resume)
    assert said == f"graded before, and not named now: {named}; {then}"


def test_what_was_graded_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assignment = Assignment(cases=(), by_hand=(("essay", 3.0),))
    command._say([GRADE], assignment, Path("g/report.html"), missing=2, as_json=False)
    said = capsys.readouterr()
    assert said.out.splitlines()[-4:] == [
        "",
        "1 submission: 1 passed",
        "to be read by a person: essay (3 points)",
        "what each notebook showed: g/report.html",
    ]
    assert said.err == "interrupted: 2 not graded; the rest with --resume\n"


def test_json_is_all_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    command._say([GRADE], NO_TESTS, Path("g"), missing=0, as_json=True)
    said = capsys.readouterr()
    assert json.loads(said.out)["submissions"][0]["submission"] == "ada"
    assert said.err == ""
