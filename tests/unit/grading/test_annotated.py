"""What nbgrader scores by, and what its pages may show."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest

from moat_nb.grading.annotated import (
    annotate,
    comment_of,
    make_harmless,
    make_outputs_harmless,
)
from moat_nb.grading.outputs import Outputs
from moat_nb.grading.verdict import CellRun, Ended, Run, TestRun, Verdict
from moat_nb.jupyter.cells import Options

SCRIPT = "<script>alert(1)</script>"
PIXEL = "iVBORw0KGgo="


def answer(source: str = "x = 1", kind: str = "code", **keys: Any) -> dict[str, Any]:
    made = {"cell_type": kind, "source": source, "metadata": {}, **keys}
    return {"outputs": [], "execution_count": 3, **made} if kind == "code" else made


def checked(name: str = "q1") -> dict[str, Any]:
    about = {"grade": True, "solution": False, "grade_id": name, "points": 2}
    return answer("assert x == 1", metadata={"nbgrader": about})


def notebook(*cells: dict[str, Any], **metadata: Any) -> Any:
    content = {"nbformat": 4, "nbformat_minor": 4, "metadata": metadata, "cells": list(cells)}
    return nbformat.from_dict(content)


def of_test(test: TestRun | None) -> list[dict[str, Any]]:
    made = notebook(answer(), checked())
    ran = (CellRun(number=1, outcome="ran"),)
    annotate(made, Run(cells=ran, tests=() if test is None else (test,)), Outputs())
    nbformat.validate(made)
    assert made.cells[1].execution_count is None
    return list(made.cells[1].outputs)


def test_a_test_that_passed_shows_nothing() -> None:
    assert of_test(TestRun(name="q1", passed=True, points=2, of=2)) == []


def test_a_part_of_the_points_is_a_result() -> None:
    (shown,) = of_test(
        TestRun(name="q1", passed=False, points=0.5, of=2, why="0.5 of its 2 points")
    )
    assert (shown["output_type"], shown["data"]) == ("execute_result", {"text/plain": "0.5"})


@pytest.mark.parametrize("of", [0, 2])
def test_a_test_that_failed_is_an_error(of: float) -> None:
    why = "line 1: assert x == 1\nNameError: \x1b]0;x\x07no x"
    (shown,) = of_test(TestRun(name="q1", passed=False, points=0, of=of, why=why))
    assert (shown["output_type"], shown["evalue"]) == ("error", "line 1: assert x == 1")
    assert "\x1b" not in shown["traceback"][0]


@pytest.mark.parametrize("test", [None, TestRun(name="other", passed=True, points=2, of=2)])
def test_a_test_that_did_not_run_is_an_error(test: TestRun | None) -> None:
    (shown,) = of_test(test)
    assert shown["output_type"] == "error"


def test_a_cell_has_what_it_showed_and_why_it_was_the_last() -> None:
    made = notebook(answer(), answer("# text", "markdown"), answer(), answer(), answer())
    outputs = Outputs()
    outputs.begin(1, Options().cancelled)
    outputs.show("stream", {"name": "stdout", "text": "hello"}, [])
    run = Run(
        cells=(
            CellRun(number=1, outcome="ran"),
            CellRun(number=3, outcome="raised", error="ValueError: no"),
            CellRun(number=4, outcome="ended"),
            CellRun(number=5, outcome="not run"),
        ),
        ended=Ended(words="killed by SIGKILL"),
    )
    annotate(made, run, outputs)
    nbformat.validate(made)
    shown = [cell.get("outputs") for cell in made.cells]
    assert shown[0] == [{"output_type": "stream", "name": "stdout", "text": "hello"}]
    assert shown[1] is None and shown[2] == []
    assert [one[0]["evalue"] for one in shown[3:]] == [
        "killed by SIGKILL",
        "the run had ended before this cell",
    ]


# ---------------------------------------------------------------- what pages may show


@pytest.mark.parametrize("kind", ["markdown", "raw"])
def test_a_text_of_a_submission_acts_not_and_the_teachers_own_stands(kind: str) -> None:
    mine = "Look <b onclick=x>here</b> ![](jupyter.png)"
    made = notebook(answer(f"**a** {SCRIPT}", kind), answer(mine, kind))
    make_harmless(made, {mine})
    assert made.cells[0].source.startswith("<pre>&#42;&#42;a") and made.cells[1].source == mine


def test_what_is_attached_is_in_the_text() -> None:
    attached = {
        "plot.png": {"image/png": PIXEL, 'image/png" onerror="alert(1)': PIXEL},
        "page": {"text/html": SCRIPT},
    }
    text = "![](attachment:plot.png)"
    made = notebook(*[answer(text, "markdown", attachments=attached) for _ in range(2)])
    make_harmless(made)
    assert f'src="data:image/png;base64,{PIXEL}"' in made.cells[0].source
    assert "attachments" not in made.cells[0]
    made = notebook(answer(text, "markdown", attachments=attached))
    make_harmless(made, {text})
    assert made.cells[0].attachments == {"plot.png": {"image/png": PIXEL}, "page": {}}


def test_of_the_metadata_what_nbgrader_and_the_language_need_stands() -> None:
    about = {"grade_id": "q1", "grade": False}
    made = notebook(
        answer(metadata={"nbgrader": about, "tags": [SCRIPT]}),
        answer("x", "raw", metadata={"raw_mimetype": "text/html"}),
        kernelspec={"name": "python3"},
        widgets={"application/vnd.jupyter.widget-state+json": {"state": {}}},
        title=SCRIPT,
    )
    make_harmless(made)
    assert made.metadata == {"kernelspec": {"name": "python3"}}
    assert [cell.metadata for cell in made.cells] == [{"nbgrader": about}, {}]


def test_of_outputs_what_a_page_without_scripts_can_show_stands() -> None:
    bundle = {
        "text/html": '<b>bold</b> <a href="/formgrader?path=x">on</a>',
        "text/plain": "bold",
        "application/javascript": "alert(1)",
        "text/latex": SCRIPT,
        "image/svg+xml": "<svg onload=alert(1)>",
        "image/png": PIXEL,
        "image/jpeg": 'x" onerror="alert(1)',
    }
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": "plain"},
        {"output_type": "display_data", "data": bundle, "metadata": {"image/png": {"width": "x"}}},
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t"]},
        {"output_type": "update_display_data", "data": bundle, "metadata": {}},
        {"output_type": "unheard of"},
    ]
    made = notebook(answer(outputs=outputs))
    make_harmless(made)
    once = nbformat.from_dict(made)
    make_outputs_harmless(made)
    assert made == once
    nbformat.validate(made)
    stream, display, error = made.cells[0].outputs
    assert stream == outputs[0] and error == outputs[2]
    assert sorted(display["data"]) == ["image/png", "text/html", "text/plain"]
    assert (
        "script" not in display["data"]["text/html"]
        and "onclick" not in display["data"]["text/html"]
    )
    assert display["metadata"] == {}


# ---------------------------------------------------------------- comments


def test_a_verdict_is_a_comment() -> None:
    assert comment_of(Verdict(kind="died", detail="cell 4:\nkilled by SIGKILL")) == (
        "died: cell 4: killed by SIGKILL"
    )
    assert comment_of(Verdict(kind="unreadable")) == "unreadable"
    assert comment_of(Verdict(kind="passed", detail="cell 4: ValueError: no")) == ""


@pytest.mark.parametrize("words", [SCRIPT, "[x](javascript:alert)", "![](http://x)", "`x`", "&lt;"])
def test_no_comment_is_more_than_text(words: str) -> None:
    said = comment_of(Verdict(kind="failed", detail=words))
    assert not set(said) & set('<>!`&"')
    assert not any(link in said for link in ("](", "][", "]:"))


def test_a_comment_is_short() -> None:
    assert len(comment_of(Verdict(kind="failed", detail="x" * 9000))) < 600
