"""Figures of plotly, altair and bokeh, drawn in frames by scripts of the sandbox's own."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plotly import offline

from moat_nb.jupyter.output.drawings import LONGEST_SCRIPT, MAX_WAITING, PLOTLY, Drawings
from moat_nb.jupyter.output.iframe import BEGIN
from moat_nb.jupyter.output.messages import DISPLAYS, sanitise, sent_as
from moat_nb.jupyter.relay.libraries import EXPRESSION
from tests.unit.jupyter.output.test_safe import JSON, framed

ALTAIR = """<div id="altair-viz-1"></div><script>(function(spec) {
maybeLoadScript("vega", "6").then(() => maybeLoadScript("vega-lite", "6.4.1"))
  .then(() => maybeLoadScript("vega-embed", "7"))
})({})</script>"""

BOKEH = """(function(root) {const render_items = [{"docid":"5f","roots":{"p1008":"d1cc-1"},
"root_ids":["p1008"]}]; "</script>"})(window)"""

DISPLAYED: dict[str, dict[str, Any]] = {
    "plotly": {PLOTLY: {"data": [], "layout": {"title": "</script>"}}, "text/html": "<b>x</b>"},
    "altair": {"text/html": ALTAIR, "text/plain": "alt.Chart(...)"},
    "altair's data": {"application/vnd.vegalite.v6.json": {"mark": "</script>"}},
    "bokeh": {"application/javascript": BOKEH, "application/vnd.bokehjs_exec.v0+json": ""},
}


def display(data: dict[str, Any], **transient: Any) -> dict[str, Any]:
    return {"data": data, "metadata": {"x": 1}, "transient": transient, "y": 2}


@pytest.mark.parametrize("what", DISPLAYED)
def test_a_figure_waits_for_its_script_and_then_its_display_is_updated(what: str) -> None:
    drawings = Drawings()
    passed, hints = sanitise("display_data", display(DISPLAYED[what]), drawings=drawings)
    assert passed is not None and hints == []
    library = what.split("'", maxsplit=1)[0]
    assert passed["data"] == {"text/plain": f"a figure of {library}"}
    wanted = drawings.wanted()
    assert wanted is not None and wanted[0] == library
    (update,) = drawings.give(library, "var library = '</script>';")
    assert update["transient"] == passed["transient"] and update["transient"]["display_id"]
    page = framed(update["data"]["text/html"])
    assert page.count("<script") == page.count("</script>")
    assert drawings.wanted() is None
    again, _ = sanitise("display_data", display(DISPLAYED[what]), drawings=drawings)
    assert again is not None and framed(again["data"]["text/html"]) == page


def test_what_a_figure_holds_ends_no_script() -> None:
    drawings = Drawings()
    name = "</script><script>alert(1)"
    drawings.shown(display({PLOTLY: {"data": [{"name": name}]}}))
    (update,) = drawings.give("plotly", "var Plotly;")
    inside = framed(update["data"]["text/html"])
    assert inside.count("</script>") == inside.count("<script>") == 3
    (page,) = re.findall(r"createContextualFragment\((.*)\)\);", inside)
    drawn = json.loads(page)
    assert drawn.count("<script>") == drawn.count("</script>") == 1
    assert json.dumps(name).replace("<", "\\u003c") in drawn


def test_the_scripts_expression_gives_the_script_as_its_text() -> None:
    drawings = Drawings()
    drawings.shown(display(DISPLAYED["plotly"]))
    wanted = drawings.wanted()
    assert wanted is not None
    assert eval(wanted[1]) == offline.get_plotlyjs()  # as the kernel does for %%moat
    expression = EXPRESSION.format(value=wanted[1])
    ast.parse(expression, mode="eval")
    value = eval(expression)  # as it does for the relay
    assert value._repr_mimebundle_() == {"text/plain": offline.get_plotlyjs()}


def test_what_altair_would_load_is_there_and_bokeh_finds_its_place() -> None:
    drawings = Drawings()
    for what in ("altair", "bokeh"):
        drawings.shown(display(DISPLAYED[what], display_id=what))
        (update,) = drawings.give(what, "x")
        page = framed(update["data"]["text/html"])
        found = json.loads(page[page.index("Fragment(") + 9 : page.rindex("));")])
        if what == "altair":
            versions = {"vega_version": "6", "vegalite_version": "6.4.1", "vegaembed_version": "7"}
            assert found.startswith(f"<script>var VEGA_DEBUG = {json.dumps(versions)}</script>")
            assert found.endswith(ALTAIR)
        else:
            assert found.startswith('<div id="d1cc-1" data-root-id="p1008"></div><script>')
            assert found.count("</script>") == 1


@pytest.mark.parametrize("script", [None, "", 7, ["x"], "x" * (LONGEST_SCRIPT + 1)])
def test_a_figure_whose_script_is_not_there_says_so(script: Any) -> None:
    drawings = Drawings()
    drawings.shown(display(DISPLAYED["altair"], display_id="a"))
    (update,) = drawings.give("altair", script)
    assert set(update["data"]) == {"text/plain"}
    assert "vl-convert-python" in update["data"]["text/plain"]
    assert drawings.wanted() is None


def test_what_bokeh_displays_before_a_figure_shows_nothing() -> None:
    place = '\n  <div id="d1cc-1" data-root-id="p1008" style="display: contents;"></div>\n'
    for data in (
        {"text/html": place},
        {"text/html": '<a class="bk-notebook-logo" onclick=1></a>'},
        {"application/javascript": "x", "application/vnd.bokehjs_load.v0+json": "x"},
    ):
        passed = Drawings().shown(display(data))
        assert passed == {"data": {"text/plain": ""}, "metadata": {}, "transient": {}}


def test_a_result_that_waits_is_sent_as_a_display_which_front_ends_update() -> None:
    drawings = Drawings()
    result = {**display(DISPLAYED["altair"]), "execution_count": 3}
    passed, _ = sanitise("execute_result", result, drawings=drawings)
    assert passed is not None and sent_as("execute_result", passed) == "display_data"
    drawings.give("altair", "x")
    passed, _ = sanitise("execute_result", result, drawings=drawings)
    assert passed is not None and passed["execution_count"] == 3
    assert sent_as("execute_result", passed) == "execute_result"


def test_what_is_no_figure_is_for_others() -> None:
    for data in (
        {"text/html": "<script>1</script>"},
        {"application/javascript": "1"},
        {PLOTLY: "x"},
    ):
        assert Drawings().shown(display(data)) is None


def test_only_so_many_figures_wait_and_none_over_a_restart() -> None:
    drawings = Drawings()
    for n in range(MAX_WAITING + 5):
        drawings.shown(display(DISPLAYED["plotly"], display_id=str(n)))
    assert len(list(drawings.give("plotly", "x"))) == MAX_WAITING
    drawings.forget()
    drawings.shown(display(DISPLAYED["plotly"]))
    assert drawings.wanted() is not None
    drawings.forget()
    assert drawings.wanted() is None


KINDS = st.sampled_from(
    [*DISPLAYED["bokeh"], PLOTLY, "text/html", "application/vnd.vegalite.v5+json"]
)
VALUES = JSON | st.sampled_from([ALTAIR, BOKEH, '"roots":{"a":"b"}'])


@given(
    st.sampled_from(sorted(DISPLAYS)),
    st.dictionaries(KINDS, VALUES),
    JSON | st.fixed_dictionaries({"display_id": JSON}),
    st.sampled_from(["plotly", "altair", "bokeh"]),
    JSON,
)
def test_whatever_a_display_holds_only_our_frames_are_html(
    kind: str, data: dict[str, Any], transient: Any, library: str, script: Any
) -> None:
    drawings = Drawings()
    content = {"data": data, "metadata": {}, "transient": transient, "execution_count": script}
    passed = [drawings.shown(content), *drawings.give(library, script), drawings.shown(content)]
    json.dumps(passed)
    for one in passed:
        page = (one or {"data": {}})["data"].get("text/html", "")
        assert page == "" or page.startswith(BEGIN)
