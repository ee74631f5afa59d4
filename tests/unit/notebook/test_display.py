"""Displays that are updated."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from moat_nb.errors import MoatError, MoatRemoteError
from moat_nb.jupyter.output.drawings import PLOTLY, Drawings
from moat_nb.jupyter.output.iframe import BEGIN
from moat_nb.notebook.display import MAX_DISPLAYS, DisplayIds, Replay

FIGURES: dict[str, dict[str, Any]] = {
    "plotly": {PLOTLY: {"data": []}, "text/plain": "Figure()"},
    "altair": {"application/vnd.vegalite.v6.json": {"mark": "bar"}},
}


def test_a_display_that_is_shown_again_can_be_updated_longer_than_others() -> None:
    ids = DisplayIds()
    first = ids.make("first")
    for number in range(MAX_DISPLAYS - 1):
        ids.make(str(number))
    assert ids.make("first") == first
    ids.make("one more")
    assert ids.get("first") == first and ids.get("0") is None


class Shown:
    """Cells of one session in a shell whose displays are kept."""

    def __init__(self) -> None:
        self.shell = InteractiveShell(display_pub_class=CapturingDisplayPublisher)
        self.displays, self.drawings = DisplayIds(), Drawings()
        self.hints: list[str] = []

    def cell(self, *displays: tuple[str, dict[str, Any], dict[str, str]], ends: Any) -> list[Any]:
        trust = {"trust": False, "hint": self.hints.append}
        replay = Replay(self.shell, self.displays, self.drawings, **trust)
        for kind, data, transient in displays:
            replay.show(kind, {"data": data, "metadata": {}, "transient": transient}, [])
        replay.finish(ends)
        outputs = list(self.shell.display_pub.outputs)
        self.shell.display_pub.outputs.clear()
        return outputs


def fails(error: MoatError) -> Any:
    def evaluate(expression: str) -> str:
        raise error

    return evaluate


@pytest.mark.parametrize("library", FIGURES)
def test_a_figure_is_drawn_at_the_end_of_its_cell_and_the_next_one_at_once(library: str) -> None:
    shown, asked = Shown(), []
    for name in ({}, {"display_id": "inside"}):
        asked.clear()
        shown.drawings.forget()
        figure = ("display_data", FIGURES[library], name)
        waiting, drawn = shown.cell(figure, ends=lambda what: asked.append(what) or "var x;")
        assert len(asked) == 1
        assert waiting["data"] == {"text/plain": f"a figure of {library}"}
        assert drawn["update"] and drawn["transient"] == waiting["transient"]
        # Never the sandbox's own id, which might be another display's of the notebook.
        assert waiting["transient"]["display_id"] not in ("", "inside")
        assert drawn["data"]["text/html"].startswith(BEGIN)
        (again,) = shown.cell(figure, ends=fails(AssertionError()))
        assert again["data"]["text/html"].startswith(BEGIN) and not again["update"]
    assert shown.hints == []


def test_a_figure_whose_script_is_not_to_be_had_is_text_and_a_hint() -> None:
    shown = Shown()
    figure = ("execute_result", FIGURES["altair"], {})
    error = MoatRemoteError("ModuleNotFoundError", "No module named 'vl_convert'", [])
    waiting, told = shown.cell(figure, ends=fails(error))
    assert told["transient"] == waiting["transient"] and set(told["data"]) == {"text/plain"}
    assert "vl-convert-python" in told["data"]["text/plain"]
    (hint,) = shown.hints
    assert "altair" in hint and "No module named 'vl_convert'" in hint
    (again,) = shown.cell(figure, ends=fails(AssertionError()))
    assert again["data"] == told["data"]
