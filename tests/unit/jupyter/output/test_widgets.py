"""Widgets of a sandbox's: those of ipywidgets' own live on, and none acts in the page."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.jupyter.output.iframe import BEGIN
from moat_nb.jupyter.output.models import BASE, CONTROLS, FORMS_OF, MODULES, form_of, view_of
from moat_nb.jupyter.output.safe import VIEW
from moat_nb.jupyter.output.widgets import COMMS, MAX_MODELS, NOWHERE, Widgets
from tests.unit.jupyter.output.test_safe import JSON, framed
from tests.unit.jupyter.output.test_sanitise import assert_harmless

SCRIPT = "<img src=x onerror=alert(1)>"
TEX = "$\\href{javascript:alert(1)}{x}$"


@pytest.fixture(scope="module")
def real() -> list[dict[str, Any]]:
    """What ipywidgets itself tells a page."""
    program = Path(__file__).with_name("real_widgets.py")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    return list(json.loads(done.stderr))


def opening(name: str, comm: str = "c1", **state: Any) -> dict[str, Any]:
    """A comm_open of a model as ipywidgets 8 sends it."""
    module = next(module for module, names in MODULES.items() if name in names)
    own = {
        "_model_module": module,
        "_model_module_version": "1.0.0" if "output" in module else "2.0.0",
        "_model_name": f"{name}Model",
        "_view_module": BASE if name.endswith("Style") else module,
        "_view_module_version": "1.0.0" if "output" in module else "2.0.0",
        "_view_name": view_of(name),
    }
    return {
        "comm_id": comm,
        "target_name": "jupyter.widget",
        "data": {"state": {**own, **state}, "buffer_paths": []},
    }


def told(comm: str = "c1", method: str = "update", **state: Any) -> dict[str, Any]:
    return {"comm_id": comm, "data": {"method": method, "state": state, "buffer_paths": []}}


def open_in(widgets: Widgets, name: str, comm: str = "c1", **state: Any) -> dict[str, Any]:
    passed, hints = widgets.sanitise("comm_open", opening(name, comm, **state))
    assert passed is not None and hints == []
    return dict(passed["data"]["state"])


def update(widgets: Widgets, comm: str = "c1", **state: Any) -> dict[str, Any] | None:
    passed, _ = widgets.sanitise("comm_msg", told(comm, **state))
    return None if passed is None else dict(passed["data"]["state"])


def test_every_widget_of_ipywidgets_passes_unchanged(real: list[dict[str, Any]]) -> None:
    widgets = Widgets()
    for message in real:
        content = message["content"]
        content.pop("target_module", None)  # a front end would load a script of that name
        passed = widgets.sanitise(message["kind"], copy.deepcopy(content))
        assert passed == (content, []), message["made_by"]
    opened = {
        m["content"]["data"]["state"]["_model_name"] for m in real if m["kind"] == "comm_open"
    }
    assert opened == {f"{name}Model" for names in MODULES.values() for name in names}
    assert {"interact", "tqdm", "states", "updates"} <= {m["made_by"] for m in real}


def test_each_has_attributes_of_a_form_that_is_checked(real: list[dict[str, Any]]) -> None:
    for message in real:
        for name in message["content"]["data"].get("state", ()):
            model = message["content"]["data"]["state"].get("_model_name", "")
            if model and not name.startswith(("_model", "_view_m", "_view_name")):
                assert form_of(model.removesuffix("Model"), name), (model, name)
    assert {model for model, _ in FORMS_OF} <= MODULES[CONTROLS]


@pytest.mark.parametrize("name", ["HTML", "HTMLMath"])
def test_html_of_a_widget_is_sanitised_or_in_a_frame(name: str) -> None:
    widgets = Widgets()
    assert open_in(widgets, name, value="<b>x</b>")["value"] == "<b>x</b>"
    changed = update(widgets, value=SCRIPT)
    assert changed is not None and framed(changed["value"]).endswith(SCRIPT)
    assert "onerror" not in changed["value"].split("srcdoc", maxsplit=1)[0]
    echoed, _ = widgets.sanitise("comm_msg", told(method="echo_update", value=SCRIPT))
    assert echoed is not None and "sandbox=" in echoed["data"]["state"]["value"]


def test_a_text_that_the_page_takes_for_tex_is_plain_or_words() -> None:
    widgets = Widgets()
    assert open_in(widgets, "Label", value="$x^2$")["value"] == "$x^2$"
    assert "\\" not in str(update(widgets, value=TEX))
    assert "\\" not in str(open_in(widgets, "Text", "c2", description=TEX))
    assert open_in(widgets, "Text", "c3", value=TEX)["value"] == TEX  # of an input, it is none


def test_html_of_a_description_passes_where_the_model_began_with_it() -> None:
    widgets = Widgets()
    opened = open_in(widgets, "Text", description="<b>x</b>", description_allow_html=True)
    assert opened["description"] == "<b>x</b>" and opened["description_allow_html"] is True
    changed = update(widgets, description="<img src='https://example.com/?secret'>")
    assert changed == {"description": "&lt;img src=&#x27;https://example.com/?secret&#x27;&gt;"}
    assert update(widgets, description_allow_html=False) == {"description_allow_html": True}
    open_in(widgets, "Text", "c2", description=SCRIPT)
    passed, (hint,) = widgets.sanitise("comm_msg", told("c2", description_allow_html=True))
    assert passed is not None and passed["data"]["state"] == {}
    assert "description_allow_html" in hint


def test_of_ipywidgets_7_descriptions_and_options_are_html() -> None:
    widgets = Widgets()
    old = {f"_{part}_module_version": "1.5.0" for part in ("model", "view")}
    opened = open_in(widgets, "Text", description=SCRIPT, **old)
    assert opened["description"] == "&lt;img src=x onerror=alert(1)&gt;"
    opened = open_in(widgets, "Text", "c3", description="<b>x</b>", **old)
    assert opened["description"] == "<b>x</b>"
    content = opening("Combobox", "c2", options=['"><script>1</script>'], **old)
    passed, (hint,) = widgets.sanitise("comm_open", content)
    assert passed is not None and "options" not in passed["data"]["state"] and "options" in hint


REFUSED = [
    {"_model_module": "anywidget", "_model_name": "AnyModel", "_esm": "export default 1"},
    {"_model_module": "anywidget", "_view_module": "anywidget"},
    {"_model_name": "WidgetModel"},
    {"_model_name": "ErrorWidgetModel"},
    {"_model_name": SCRIPT},
    {"_view_name": "HTMLView"},
    {"_view_name": SCRIPT},
    {"_view_module": "anywidget"},
    {"_view_module": "@jupyter-widgets/base"},
    {"_model_module_version": "*"},
    {"_model_module_version": "^2.0.0"},
    {"_model_module_version": "3.0.0"},
    {"_view_module_version": "1.5.0"},
    {"_view_module_version": None},
    {"_model_name": ["TextModel"]},
]


@pytest.mark.parametrize("state", REFUSED)
def test_a_model_that_is_not_the_front_ends_own_is_a_line_of_text(state: dict[str, Any]) -> None:
    widgets = Widgets()
    passed, hints = widgets.sanitise("comm_open", opening("Text", value="x", **state))
    assert passed is not None
    assert hints == []  # the line says it
    shown = passed["data"]["state"]
    assert shown["_model_name"] == "LabelModel" and shown["_view_name"] == "LabelView"
    assert "moat-nb lab" in shown["value"] and "--trust-output" in shown["value"]
    assert "<" not in shown["value"]
    assert set(shown) == {"value", *(k for k in opening("Text")["data"]["state"])}
    assert update(widgets, value="y") is None
    view = {"model_id": "c1", "version_major": 2, "version_minor": 0}
    assert widgets.view({VIEW: view}) == {VIEW: view}


def test_what_stands_in_a_box_is_what_the_page_was_given() -> None:
    widgets = Widgets()
    open_in(widgets, "Text", "known")
    widgets.sanitise("comm_open", opening("Text", "line", _model_module="anywidget"))
    shown = open_in(widgets, "VBox", "box", children=["IPY_MODEL_known", "IPY_MODEL_never"])
    assert shown["children"] == ["IPY_MODEL_known"]
    assert update(widgets, "box", children=["IPY_MODEL_line"]) == {"children": ["IPY_MODEL_line"]}
    assert update(widgets, "known", layout="IPY_MODEL_line", style="IPY_MODEL_box") == {}


def test_an_id_means_one_kind_for_good() -> None:
    """A page may hold the model that was closed, and would take the text for its HTML."""
    widgets = Widgets()
    open_in(widgets, "HTML", value="x")
    other = opening("Text", value=SCRIPT)
    assert widgets.sanitise("comm_open", other)[0] is None
    assert widgets.sanitise("comm_close", {"comm_id": "c1", "data": {SCRIPT: 1}}) == (
        {"comm_id": "c1", "data": {}},
        [],
    )
    assert widgets.sanitise("comm_open", other)[0] is None
    assert update(widgets, **other["data"]["state"]) is None
    states = {"c1": {"model_name": "TextModel", "state": other["data"]["state"]}}
    content = {"comm_id": "c0", "data": {"method": "update_states", "states": states}}
    passed, _ = widgets.sanitise("comm_msg", content)
    assert passed is not None and passed["data"]["states"] == {}
    assert open_in(widgets, "HTML", value="y")["value"] == "y"


@pytest.mark.parametrize("name", ["_model_name", "_model_module", "_view_name", "_view_module"])
def test_an_update_changes_no_kind(name: str) -> None:
    widgets = Widgets()
    open_in(widgets, "Text", value="x")
    changed = update(widgets, value="y", **{name: "HTMLView"})
    assert changed in ({"value": "y"}, None)


def test_all_states_at_once_are_sanitised_each() -> None:
    widgets = Widgets()
    plain = opening("HTML", value=SCRIPT)["data"]["state"]
    code = {**plain, "_model_module": "anywidget", "_esm": "1"}
    mixed = {"model_name": "HTMLModel", "state": {**plain, "_model_name": "TextModel"}}
    for comm in ("c1", "c3"):
        widgets.sanitise("comm_open", opening("HTML", comm))
    widgets.sanitise("comm_open", opening("HTML", "c2", _model_module="anywidget"))
    widgets.sanitise("comm_open", {**opening("HTML", "c4"), "data": {"state": {}}})
    states = {
        "c1": _entry(plain),
        "c2": _entry(code),
        "c3": mixed,
        "__proto__": _entry(plain),
        "c4": "x",
        "not opened": _entry(plain),
        "c5": _entry(plain),
    }
    paths = [["c1", "state", "value"], ["__proto__", "state", "value"], "x", []]
    data = {"method": "update_states", "states": states, "buffer_paths": paths}
    passed, _ = widgets.sanitise("comm_msg", {"comm_id": "c0", "data": data})
    assert passed is not None
    shown = passed["data"]["states"]
    assert shown.keys() == {"c1", "c2", "c3", "c4"}
    assert "sandbox=" in shown["c1"]["state"]["value"]
    assert shown["c2"]["model_name"] == shown["c2"]["state"]["_model_name"] == "LabelModel"
    assert "sandbox=" in shown["c3"]["state"]["value"]
    assert shown["c4"]["model_name"] == "LabelModel"
    assert passed["data"]["buffer_paths"] == [["c1", "state", *NOWHERE], *[["c1", *NOWHERE]] * 3]


def _entry(state: dict[str, Any]) -> dict[str, Any]:
    names = ("model_name", "model_module", "model_module_version")
    return {**{name: state[f"_{name}"] for name in names}, "state": state}


@pytest.mark.parametrize("name", ["Link", "DirectionalLink"])
@pytest.mark.parametrize(
    "ends",
    [
        ("IPY_MODEL_text value", "IPY_MODEL_html value"),
        ("IPY_MODEL_html value", "IPY_MODEL_text value"),
        ("IPY_MODEL_text value", "IPY_MODEL_label value"),
        ("IPY_MODEL_text value", "IPY_MODEL_text description"),
        ("IPY_MODEL_text value", "IPY_MODEL_slider readout_format"),
        ("IPY_MODEL_text value", "IPY_MODEL_text _view_name"),
        ("IPY_MODEL_text value", "IPY_MODEL_later value"),
        ("IPY_MODEL_text value", "IPY_MODEL_line value"),
        ("IPY_MODEL_text value", "IPY_MODEL_slider value"),
        ("IPY_MODEL_text value", "IPY_MODEL_layout width"),
        ("IPY_MODEL_text value", "IPY_MODEL_text _dom_classes"),
        ("IPY_MODEL_html _esm", "IPY_MODEL_html _esm"),
    ],
)
def test_no_link_copies_in_the_page_what_is_not_looked_at(name: str, ends: list[str]) -> None:
    widgets = Widgets()
    for comm in ("text", "html", "label"):
        open_in(widgets, {"html": "HTML"}.get(comm, comm.title()), comm)
    open_in(widgets, "IntSlider", "slider")
    open_in(widgets, "Layout", "layout")
    widgets.sanitise("comm_open", opening("Text", "line", _model_module="anywidget"))
    pair = {"source": ends[0].split(), "target": ends[1].split()}
    passed, hints = widgets.sanitise("comm_open", opening(name, "link", **pair))
    assert passed is None and "link" in hints[0]
    # Neither afterwards, nor once the model is there.
    open_in(widgets, "HTML", "later")
    assert update(widgets, "link", **pair) == {}
    assert update(widgets, **opening(name, "link", **pair)["data"]["state"]) is None


def test_no_link_leads_to_options_which_ipywidgets_7_puts_into_html() -> None:
    widgets = Widgets()
    open_in(widgets, "Dropdown", "from", _options_labels=["a"])
    open_in(widgets, "Combobox", "to")
    pair = {
        "source": ["IPY_MODEL_from", "_options_labels"],
        "target": ["IPY_MODEL_to", "options"],
    }
    assert widgets.sanitise("comm_open", opening("Link", "link", **pair))[0] is None


def test_a_link_of_two_plain_values_lives() -> None:
    widgets = Widgets()
    open_in(widgets, "Play", "play")
    open_in(widgets, "IntSlider", "slider")
    pair = {"source": ["IPY_MODEL_play", "value"], "target": ["IPY_MODEL_slider", "value"]}
    assert open_in(widgets, "Link", "link", **pair)["target"] == pair["target"]


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("Button", {"_dom_classes": ["jp-Dialog", "lm-mod-hidden", "x y", "<img>", 1]}),
        ("Layout", {"margin": "-500px"}),
        ("Layout", {"top": "calc(0px - 500px)"}),
        ("Layout", {"width": "url(https://example.com/)"}),
        ("Layout", {"width": "calc(1px + url (x))"}),
        ("Layout", {"width": "u\\72l(https://example.com/)"}),
        ("Layout", {"border_top": "1px solid image-set('https://example.com/')"}),
        ("TextStyle", {"background": "url(//example.com)"}),
        ("TextStyle", {"background": "x" * 1001}),
        ("Image", {"format": "url"}),
        ("Image", {"format": "URL"}),
        ("Image", {"format": "svg+xml"}),
        ("Image", {"format": "png,text/html"}),
        ("Image", {"value": "https://example.com/"}),
        ("IntSlider", {"readout_format": SCRIPT}),
        ("FloatsInput", {"format": SCRIPT}),
        ("Button", {"icon": f"check {SCRIPT}"}),
        ("Button", {"button_style": "__proto__"}),
        ("IntSlider", {"value": SCRIPT}),
        ("IntSlider", {"value": 10**400}),
        ("Dropdown", {"_options_labels": [{"toString": 1}]}),
        ("Dropdown", {"index": {"__proto__": 1}}),
        ("VBox", {"children": "IPY_MODEL_x"}),
        ("VBox", {"children": [["IPY_MODEL_x"]]}),
        ("DatePicker", {"value": SCRIPT}),
        ("Text", {"_esm": "1", "__proto__": {}, "constructor": 1}),
    ],
)
def test_what_an_attribute_may_not_hold_is_left_out(name: str, state: dict[str, Any]) -> None:
    widgets = Widgets()
    open_in(widgets, name)
    assert update(widgets, **state) in ({}, {"_dom_classes": []})


def test_outputs_of_an_output_widget_are_displays_like_any() -> None:
    outputs = [
        {"output_type": "display_data", "data": {"text/html": SCRIPT}, "metadata": {}},
        {"output_type": "stream", "name": "stdout", "text": "x\x1b]0;title\x07"},
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t"], "x": 1},
        {"output_type": "update_display_data", "data": {}},
        {"output_type": ["stream"]},
        7,
    ]
    first, second, third = open_in(Widgets(), "Output", outputs=outputs)["outputs"]
    assert framed(first["data"]["text/html"]).endswith(SCRIPT)
    assert second == {"output_type": "stream", "name": "stdout", "text": "x"}
    assert third == {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t"]}


@pytest.mark.parametrize(
    ("name", "path", "goes"),
    [
        ("Image", ["value"], ["value"]),
        ("Image", ["value", "x"], NOWHERE),
        ("Image", ["__proto__", "x"], NOWHERE),
        ("Image", "value", NOWHERE),
        ("HTML", ["value"], NOWHERE),
        ("FileUpload", ["value", 0, "content"], ["value", 0, "content"]),
        ("FileUpload", ["value", 1, "content"], NOWHERE),
        ("FileUpload", ["value", 0, "__proto__"], NOWHERE),
        ("FileUpload", ["value", True, "content"], NOWHERE),
        ("FileUpload", ["data", 0], ["data", 0]),
    ],
)
def test_a_buffer_goes_where_a_model_has_bytes(name: str, path: Any, goes: list[Any]) -> None:
    state = {"value": [{"name": "a", "size": 1}], "data": [None]} if name == "FileUpload" else {}
    content = opening(name, **state)
    content["data"]["buffer_paths"] = [path]
    passed, _ = Widgets().sanitise("comm_open", content)
    assert passed is not None and passed["data"]["buffer_paths"] == [goes]


def test_messages_to_others_in_the_page_do_not_pass() -> None:
    widgets = Widgets()
    content = {**opening("Text"), "target_name": "hv-extension-comm"}
    passed, (hint,) = widgets.sanitise("comm_open", content)
    assert passed is None and "hv-extension-comm" in hint
    assert widgets.sanitise("comm_msg", {"comm_id": "c9", "data": {"method": "x"}})[0] is None
    comms = {"a": {"target_name": "x"}, "b": {"target_name": "jupyter.widget", "x": 1}}
    passed, _ = widgets.sanitise("comm_info_reply", {"status": "ok", "comms": comms})
    assert passed == {"status": "ok", "comms": {"b": {"target_name": "jupyter.widget"}}}


def test_what_a_widget_is_told_beside_its_state() -> None:
    widgets = Widgets()
    open_in(widgets, "Text")
    focus = {"comm_id": "c1", "data": {"method": "custom", "content": {"do": "focus"}}}
    assert widgets.sanitise("comm_msg", focus) == (focus, [])
    other = {"comm_id": "c1", "data": {"method": "custom", "content": {"do": "x"}}}
    assert widgets.sanitise("comm_msg", other)[0] is None
    version = {"comm_id": "c9", "data": {"version": "~2.1.4"}}  # as ipywidgets 7 answers
    assert widgets.sanitise("comm_msg", version) == (version, [])


def test_a_view_of_no_model_is_a_line_of_text() -> None:
    widgets = Widgets()
    view = {"model_id": "c1", "version_major": 2, "version_minor": 0, "x": SCRIPT}
    assert set(widgets.view({VIEW: view})) == {"text/plain"}
    assert set(widgets.view({VIEW: SCRIPT})) == {"text/plain"}
    open_in(widgets, "Text")
    assert "x" not in widgets.view({VIEW: view})[VIEW]


def test_a_kernel_names_a_bounded_number_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_MODELS == 100_000
    monkeypatch.setattr("moat_nb.jupyter.output.widgets.MAX_MODELS", 2)
    widgets = Widgets()
    open_in(widgets, "Text", "a")
    open_in(widgets, "Text", "b")
    assert widgets.sanitise("comm_open", opening("Text", "c"))[0] is None
    assert update(widgets, "a", value="x") == {"value": "x"}


NAMES = sorted(name for names in MODULES.values() for name in names)
ATTRIBUTES = sorted({attribute for _, attribute in FORMS_OF} | {"children", "layout", "outputs"})
VALUES = JSON | st.sampled_from([SCRIPT, TEX, "url(x)", "IPY_MODEL_c1", ["IPY_MODEL_c2", "value"]])
STATES = st.dictionaries(
    st.sampled_from([*ATTRIBUTES, "description", "source", "target", "_dom_classes"]), VALUES
)
IDS = st.sampled_from(["c1", "c2", "c3"])
OPENED = st.builds(
    lambda name, comm, state: ("comm_open", opening(name, comm, **state)),
    st.sampled_from(NAMES),
    IDS,
    STATES,
)
TOLD = st.builds(lambda comm, state: ("comm_msg", told(comm, **state)), IDS, STATES)
ANY = st.tuples(
    st.sampled_from(sorted(COMMS | {"comm_info_reply"})),
    st.fixed_dictionaries(
        {"comm_id": IDS | JSON},
        optional={
            "target_name": st.just("jupyter.widget") | JSON,
            "comms": JSON,
            "data": JSON
            | st.fixed_dictionaries(
                {"method": st.sampled_from(["update", "update_states", "custom"]) | JSON},
                optional={"state": JSON, "states": JSON, "buffer_paths": JSON, "content": JSON},
            ),
        },
    )
    | JSON,
)


def html_of(kinds: dict[str, str], content: dict[str, Any]) -> Iterator[str]:
    """What the page would take for HTML."""
    state = content["data"].get("state", {})
    comm = content["comm_id"]
    kinds[comm] = state.get("_model_name", kinds.get(comm, ""))
    if kinds[comm] in ("HTMLModel", "HTMLMathModel") and "value" in state:
        yield str(state["value"] or "")


@given(st.lists(OPENED | TOLD | ANY, max_size=8))
def test_whatever_comes_in_whatever_order_no_html_of_it_acts(messages: list[Any]) -> None:
    widgets, kinds = Widgets(), dict[str, str]()
    for kind, content in messages:
        passed, hints = widgets.sanitise(kind, content)
        json.dumps([passed, hints])
        if passed is not None and "data" in passed:
            for page in html_of(kinds, passed):
                if not page.startswith(BEGIN):
                    assert_harmless(page)
