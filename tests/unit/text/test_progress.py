"""What a person sees of long work, and does not see of short work."""

from __future__ import annotations

import io
import re
import time
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from moat_nb.text.progress import Display, _choose


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def wait_for(stream: io.StringIO, text: str) -> None:
    give_up = time.monotonic() + 60
    while text not in stream.getvalue():
        assert time.monotonic() < give_up, f"{text!r} is not in {stream.getvalue()!r}"
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_short_work_shows_nothing(stream: io.StringIO) -> None:
    display = Display(stream, _choose, delay=60)
    display.stage("pulling x")
    display.update(1, 2)
    display.log("a line")
    display.close()
    assert stream.getvalue() == ""


def test_long_work_shows_itself_on_a_terminal_though_nothing_more_is_said() -> None:
    terminal = Terminal()
    display = Display(terminal, _choose, delay=0.05)
    display.stage("pulling x")
    wait_for(terminal, "pulling x")
    display.close()


def test_a_terminal_shows_stage_amount_and_last_line_in_place_and_is_left_clean() -> None:
    terminal = Terminal()
    display = Display(terminal, _choose, delay=0)
    display.stage("pulling x")
    wait_for(terminal, "pulling x")
    display.update(1, 4)
    wait_for(terminal, "25%")
    display.log("Unpacking jq\n")
    wait_for(terminal, "Unpacking jq")
    display.stage("building y")
    wait_for(terminal, "building y")
    display.close()
    assert "\n" not in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")


def test_the_clock_goes_on_though_nothing_more_is_said() -> None:
    terminal = Terminal()
    display = Display(terminal, _choose, delay=0)
    display.stage("pulling x")
    wait_for(terminal, "pulling x [00:00")
    pause = time.monotonic() + 60
    while not re.search(r"pulling x \[00:(0[1-9]|[1-5]\d)", terminal.getvalue()):
        assert time.monotonic() < pause
        time.sleep(0.01)
    display.close()


def test_a_log_gets_one_line_a_stage() -> None:
    log = io.StringIO()
    display = Display(log, _choose, delay=0)
    display.stage("pulling x")
    wait_for(log, "pulling x")
    display.update(1, 4)
    display.log("Unpacking jq")
    display.stage("building y")
    display.close()
    assert log.getvalue() == "moat-nb: pulling x\nmoat-nb: building y\n"


def test_nothing_shows_after_close() -> None:
    log = io.StringIO()
    display = Display(log, _choose, delay=0.05)
    display.close()
    display.stage("pulling x")
    time.sleep(0.2)
    assert log.getvalue() == ""


NOTEBOOK = """
import time
from moat_nb.text.progress import Display, _choose
import sys
display = Display(sys.stderr, _choose, delay=0)
display.stage('pulling x')
while display._bar is None: time.sleep(0.01)
display.update(1, 4)
display.log('layer\\x1b]0;t')
display.stage('building y')
display.update(3, 4)
"""


def widgets_after(code: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The kinds of output of a real notebook's cell, and the states of its widgets."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=300).execute()
    found = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    kinds = [output.output_type for output in notebook.cells[0].outputs]
    return kinds, [one["state"] for one in found.values()]


def test_a_notebook_gets_one_display_that_shows_each_stage() -> None:
    kinds, states = widgets_after(NOTEBOOK)
    assert kinds == ["display_data"]
    (bar,) = [state for state in states if state["_model_name"] == "FloatProgressModel"]
    assert (bar["value"], bar["max"]) == (75.0, 100.0)
    # tqdm writes figure spaces, which a browser does not fold.
    texts = [str(state.get("value", "")).replace("\u2007", " ") for state in states]
    assert "building y  75%" in texts


def test_what_a_notebook_showed_of_work_is_taken_away_when_it_ended_half_done() -> None:
    _, states = widgets_after(NOTEBOOK + "display.close()\n")
    (bar,) = [state for state in states if state["_model_name"] == "FloatProgressModel"]
    assert bar["bar_style"] != "danger"
    assert "hidden" in [state.get("visibility") for state in states]
