"""From what was seen to one verdict, the gravest first."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from moat_nb.grading.verdict import (
    WORDS,
    CellRun,
    Ended,
    Run,
    TestRun,
    Verdict,
    earned,
    named_error,
    verdict_of,
)

RAN = CellRun(number=1, outcome="ran")
PASSED = TestRun(name="a", passed=True, points=1, of=1)
FAILED = TestRun(name="b", passed=False, points=0, of=1, why="no")


def raised(error: str, number: int = 2) -> CellRun:
    return CellRun(number=number, outcome="raised", error=error)


GRAVEST_FIRST: list[tuple[str, dict[str, Any]]] = [
    ("not graded", {"not_started": "no engine"}),
    ("unreadable", {"unreadable": "no JSON"}),
    ("out of memory", {"ended": Ended(words="killed", out_of_memory=True)}),
    ("out of memory", {"cells": (raised("MemoryError"),)}),
    ("timed out", {"too_long": "cell 2 took longer than 6 s"}),
    ("too much output", {"too_much": True}),
    ("died", {"ended": Ended(words="signal 11")}),
    ("wrote outside", {"outside": ("moat.yaml",)}),
    ("wrote outside", {"cells": (raised("OSError: [Errno 30] Read-only file system"),)}),
    ("refused network", {"refused": ("example.com not allowed",)}),
    ("refused network", {"cells": (raised("URLError: <urlopen error>"),)}),
    ("failed", {"tests": (PASSED, FAILED)}),
]


@pytest.mark.parametrize(("kind", "seen"), GRAVEST_FIRST, ids=lambda value: str(value)[:40])
def test_each_alone_is_its_verdict(kind: str, seen: dict[str, Any]) -> None:
    assert verdict_of(Run(**seen)).kind == kind


@pytest.mark.parametrize(
    ("graver", "other"),
    list(itertools.combinations(GRAVEST_FIRST, 2)),
    ids=lambda pair: str(pair)[:60],
)
def test_the_graver_of_two_is_the_verdict(
    graver: tuple[str, dict[str, Any]], other: tuple[str, dict[str, Any]]
) -> None:
    cells = (*graver[1].get("cells", ()), *other[1].get("cells", ()))
    run = replace(Run(**{**other[1], **graver[1]}), cells=cells)
    assert verdict_of(run).kind == graver[0]


@pytest.mark.parametrize(
    ("run", "verdict"),
    [
        (Run(), Verdict(kind="passed")),
        (Run(cells=(RAN,)), Verdict(kind="passed")),
        (Run(cells=(RAN,), tests=(PASSED,)), Verdict(kind="passed")),
        (
            Run(cells=(RAN, raised("ValueError: no"))),
            Verdict(kind="failed", detail="cell 2: ValueError: no"),
        ),
        (
            Run(cells=(RAN, raised("ValueError: no")), tests=(PASSED,)),
            Verdict(kind="passed", detail="cell 2: ValueError: no"),
        ),
        (
            Run(cells=(CellRun(number=3, outcome="not run"),)),
            Verdict(kind="failed", detail="cell 3: not run"),
        ),
        (
            Run(tests=(PASSED, FAILED), cells=(raised("E: x"),)),
            Verdict(kind="failed", detail="1 of 2 tests: b; cell 2: E: x"),
        ),
        (
            Run(tests=(FAILED,) * 6),
            Verdict(kind="failed", detail="6 of 6 tests: b, b, b, b, b, ..."),
        ),
        (
            Run(cells=tuple(raised("E: x", number) for number in range(5))),
            Verdict(kind="failed", detail="cell 0: E: x; cell 1: E: x; cell 2: E: x"),
        ),
        (
            Run(cells=(RAN, CellRun(number=2, outcome="ended")), ended=Ended(words="signal 9")),
            Verdict(kind="died", detail="cell 2: signal 9"),
        ),
        (
            Run(cells=(RAN,), tests=(FAILED,), ended=Ended(words="signal 9")),
            Verdict(kind="died", detail="a test: signal 9"),
        ),
        (
            Run(cells=(CellRun(number=1, outcome="stopped"),), too_much=True),
            Verdict(kind="too much output", detail="cell 1: more than is kept"),
        ),
        (Run(outside=("a", "b")), Verdict(kind="wrote outside", detail="a; b")),
        (Run(refused=("x no", "y no")), Verdict(kind="refused network", detail="x no; y no")),
    ],
    ids=str,
)
def test_a_run_gets_its_verdict_and_its_details(run: Run, verdict: Verdict) -> None:
    assert verdict_of(run) == verdict


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("PermissionError: [Errno 13] Permission denied: '/etc/passwd'", "wrote outside"),
        ("PermissionError: [Errno 1] Operation not permitted", "wrote outside"),
        ("OSError: [Errno 28] No space left on device", "failed"),
        ("FileNotFoundError: [Errno 2] No such file", "failed"),
        ("ValueError: [Errno 30] is what I say", "failed"),
        ("socket.gaierror: [Errno -2] Name or service not known", "refused network"),
        ("urllib3.exceptions.MaxRetryError: no", "refused network"),
        ("ConnectionRefusedError: [Errno 111] Connection refused", "refused network"),
        ("MemoryError", "out of memory"),
        ("", "failed"),
    ],
)
def test_an_errors_name_and_its_first_words_say_what_it_means(error: str, kind: str) -> None:
    assert verdict_of(Run(cells=(raised(error),))).kind == kind


def test_each_kind_has_words_for_people() -> None:
    assert {kind for kind, _ in GRAVEST_FIRST} | {"passed"} == set(WORDS)


@pytest.mark.parametrize(
    ("result", "points", "why"),
    [
        ({"passed": True}, 2.0, ""),
        ({"passed": True, "value": None}, 2.0, ""),
        ({"passed": True, "value": 2.0}, 2.0, ""),
        ({"passed": True, "value": 0.5}, 0.5, "0.5 of its 2 points"),
        ({"passed": True, "value": 0.0}, 0.0, "0 of its 2 points"),
        ({"passed": True, "value": 9.0}, 0.0, "it ended in 9, which is no number of points"),
        ({"passed": True, "value": -1.0}, 0.0, "it ended in -1, which is no number of points"),
        ({"passed": True, "value": float("nan")}, 0.0, "it ended in nan, which is no number"),
        ({"passed": True, "value": "2"}, 2.0, ""),
        ({"passed": False, "value": 2.0, "why": "no"}, 0.0, "no"),
        ({"passed": "yes", "why": ""}, 0.0, "failed"),
        ({}, 0.0, "None"),
    ],
)
def test_points_are_all_or_the_number_that_a_cell_ended_in(
    result: dict[str, Any], points: float, why: str
) -> None:
    found, said = earned(2.0, result)
    assert found == points
    assert said.startswith(why) and bool(said) == bool(why)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [("ValueError", "no", "ValueError: no"), ("AssertionError", "", "AssertionError")],
)
def test_an_error_without_words_has_no_colon(name: str, text: str, said: str) -> None:
    error = named_error(name, text)
    assert error == said
    assert raised(error).error_name == name
