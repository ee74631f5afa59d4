"""What of a kernel's messages passes to its client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.jupyter.output.iframe import BEGIN
from moat_nb.jupyter.output.messages import DISPLAYS, KEYS_OF, sanitise
from moat_nb.jupyter.output.safe import VIEW
from moat_nb.jupyter.output.widgets import Widgets
from tests.unit.jupyter.output.test_safe import JSON, framed
from tests.unit.jupyter.output.test_sanitise import assert_harmless

SCRIPT = "<img src=x onerror=alert(1)>"

FAILED = {"status": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[31mt\x1b[0m"]}

LANGUAGE = {
    **{"name": "python", "version": "3.11.7", "mimetype": "text/x-python"},
    **{"codemirror_mode": {"name": "ipython", "version": 3}, "pygments_lexer": "ipython3"},
    **{"nbconvert_exporter": "python", "file_extension": ".py"},
}

PLAIN = [
    ("stream", {"name": "stderr", "text": "a\r\x1b[1;31mb\x1b[0m\n"}),
    ("error", {"ename": "E", "evalue": "v", "traceback": ["\x1b[31mt\x1b[0m"]}),
    ("clear_output", {"wait": True}),
    ("execute_input", {"code": "x = '<b>'", "execution_count": 3}),
    ("status", {"execution_state": "busy"}),
    ("execute_reply", {**FAILED, "execution_count": 4, "payload": []}),
    (
        "execute_reply",
        {"status": "aborted", "ename": "", "evalue": "", "traceback": [], "payload": []},
    ),
    (
        "execute_reply",
        {
            "status": "ok",
            "execution_count": 4,
            "payload": [
                {"source": "page", "data": {"text/plain": "help"}, "start": 0},
                {"source": "set_next_input", "text": "%load x", "replace": True},
                {"source": "ask_exit", "keepkernel": False},
            ],
            "user_expressions": {
                "x": {"status": "ok", "data": {"text/plain": "1"}, "metadata": {}}
            },
        },
    ),
    ("inspect_reply", {"status": "ok", "found": True, "data": {"text/plain": "x"}, "metadata": {}}),
    (
        "complete_reply",
        {
            "status": "ok",
            "matches": ["print", "a<b"],
            "cursor_start": 0,
            "cursor_end": 2,
            "metadata": {
                "_jupyter_types_experimental": [
                    {"start": 0, "end": 2, "text": "print", "type": "function", "signature": "()"}
                ]
            },
        },
    ),
    ("history_reply", {"status": "ok", "history": [[1, 2, "x"], [0, 3, ["x", None]]]}),
    ("is_complete_reply", {"status": "incomplete", "indent": "    "}),
    (
        "kernel_info_reply",
        {
            **{"status": "ok", "protocol_version": "5.4", "implementation": "ipython"},
            **{"implementation_version": "9.18.1", "banner": "Python 3.11", "debugger": True},
            **{"language_info": LANGUAGE, "supported_features": ["kernel subshells", "debugger"]},
            "help_links": [{"text": "Python", "url": "https://docs.python.org/3.11"}],
        },
    ),
    ("input_request", {"prompt": "name: ", "password": False}),
    ("shutdown_reply", {"status": "ok", "restart": True}),
    ("interrupt_reply", {"status": "ok"}),
    ("debug_event", {"type": "event", "event": "stopped", "seq": 3, "body": {"threadId": 1}}),
    ("create_subshell_reply", {"status": "ok", "subshell_id": "4b0a8b0e-1"}),
    (
        "display_data",
        {"data": {"text/plain": "x"}, "metadata": {}, "transient": {"display_id": "a"}},
    ),
    (
        "execute_result",
        {"data": {"text/plain": "x"}, "metadata": {}, "transient": {}, "execution_count": 1},
    ),
]


@pytest.mark.parametrize(("kind", "content"), PLAIN)
def test_what_a_kernel_says_natively_passes_unchanged(kind: str, content: dict[str, Any]) -> None:
    assert sanitise(kind, content) == (content, [])


CHANGED: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("invented", {"x": 1}, None),
    ("execute_request", {"code": "x"}, None),
    ("comm_open", {"comm_id": "x"}, None),
    ("stream", {"name": "stdout"}, None),
    ("stream", {"name": SCRIPT, "text": "x\x1b]0;t\x07", "y": 1}, {"name": "stdout", "text": "x"}),
    ("status", {"execution_state": "restarting"}, None),
    ("clear_output", {"wait": "yes"}, {"wait": False}),
    (
        "input_request",
        {"prompt": "x\x1b]52;c;x\x07", "password": 1},
        {"prompt": "x", "password": False},
    ),
    ("is_complete_reply", {"status": "x", "indent": "x"}, {"status": "unknown", "indent": ""}),
    ("history_reply", {"history": [[1, 2, {"x": 1}], [1], 7]}, {"status": "ok", "history": []}),
]


@pytest.mark.parametrize(("kind", "content", "left"), CHANGED)
def test_what_is_not_known_does_not_pass(
    kind: str, content: dict[str, Any], left: dict[str, Any] | None
) -> None:
    assert sanitise(kind, content)[0] == left


def test_what_a_reply_would_have_shown_is_sanitised_wherever_it_stands() -> None:
    shown = {"data": {"text/html": SCRIPT}, "metadata": {"text/html": {"isolated": True}}}
    reply = {
        "status": "ok",
        "payload": [{"source": "page", **shown}],
        "user_expressions": {"x": {"status": "ok", **shown}},
    }
    passed, _ = sanitise("execute_reply", reply)
    assert passed is not None
    inspected, _ = sanitise("inspect_reply", {"status": "ok", "found": True, **shown})
    assert inspected is not None
    # JupyterLab draws a variable that is looked at in the debugger as an output that it trusts.
    debug = {"type": "response", "command": "richInspectVariables", "success": True, "body": shown}
    debugged, _ = sanitise("debug_reply", debug)
    assert debugged is not None
    for found in (
        passed["payload"][0],
        passed["user_expressions"]["x"],
        inspected,
        debugged["body"],
    ):
        assert framed(found["data"]["text/html"]).endswith(SCRIPT)
        assert found.get("metadata", {}) in ({}, {"text/html": {}})


def test_of_a_payload_no_editor_is_opened() -> None:
    payload = [{"source": "edit", "filename": "/x"}, {"source": "edit_magic"}, "x", {"source": []}]
    passed, _ = sanitise("execute_reply", {"status": "ok", "payload": payload})
    assert passed is not None and passed["payload"] == []


@pytest.mark.parametrize("url", ["javascript:alert(1)", "/lab", "data:text/html,x", "https://x'y"])
def test_a_link_of_the_help_leads_to_a_page_of_the_web(url: str) -> None:
    passed, _ = sanitise("kernel_info_reply", {"help_links": [{"text": "x", "url": url}]})
    assert passed is not None and passed["help_links"] == []


def test_of_a_language_no_name_leads_to_code_or_to_a_path() -> None:
    language = {
        **{"name": "../x", "mimetype": SCRIPT, "codemirror_mode": {"name": SCRIPT}},
        **{"nbconvert_exporter": "evil.module.Exporter", "file_extension": "/../../x"},
        "pygments_lexer": "a.b",
    }
    passed, _ = sanitise("kernel_info_reply", {"language_info": language})
    assert passed is not None
    left = {"name": "text", "version": "", "mimetype": "text/plain", "file_extension": ".txt"}
    assert passed["language_info"] == left


def test_what_is_not_shown_is_said_in_one_line_in_its_place() -> None:
    content = {"data": {"application/vnd.bokehjs_exec.v0+json": ""}, "metadata": {}}
    passed, (hint,) = sanitise("display_data", content)
    assert passed is not None and passed["data"] == {"text/plain": hint}
    assert "moat-nb lab" in hint and "--trust-output" in hint and "\n" not in hint


def test_a_widgets_view_is_shown_where_there_is_one_to_ask() -> None:
    content = {"data": {VIEW: {"model_id": "x"}, "text/plain": "Button()"}, "metadata": {}}
    passed, _ = sanitise("display_data", content, Widgets())
    assert passed is not None and set(passed["data"]) == {"text/plain"}
    assert "not shown" in passed["data"]["text/plain"]
    passed, _ = sanitise("inspect_reply", content)
    assert passed is not None and passed["data"] == {"text/plain": "Button()"}


def test_json_that_is_nested_too_deeply_for_its_readers_is_left_out() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    passed, _ = sanitise("display_data", {"data": {"application/json": deep, "text/plain": "x"}})
    assert passed is not None and passed["data"] == {"text/plain": "x"}
    passed, _ = sanitise("debug_event", {"type": "event", "body": {"x": deep}})
    assert passed is not None and "body" not in passed


def test_no_name_of_an_object_sets_what_all_objects_have() -> None:
    body = json.loads('{"a": [{"__proto__": {"x": 1}, "y": 2}], "constructor": 1}')
    passed, _ = sanitise("debug_event", {"type": "event", "body": body})
    assert passed is not None and passed["body"] == {"a": [{"y": 2}]}


KINDS = st.sampled_from([*sorted(KEYS_OF), *sorted(DISPLAYS), "x"])
KEYS = sorted(
    {key for keys in KEYS_OF.values() for key in keys} | {"data", "transient", "metadata"}
)
BUNDLE = st.dictionaries(
    st.sampled_from(["text/html", "text/plain", "image/png", "x/y", "application/json", VIEW])
    | st.text(max_size=3),
    JSON,
)
SHOWN = st.fixed_dictionaries({"data": BUNDLE | JSON, "metadata": JSON, "source": st.just("page")})
CONTENT = st.dictionaries(
    st.sampled_from(KEYS), JSON | BUNDLE | SHOWN | st.lists(SHOWN | JSON, max_size=2)
)


@given(KINDS, CONTENT | JSON)
def test_whatever_a_message_holds_it_passes_or_not(kind: str, content: Any) -> None:
    passed, hints = sanitise(kind, content, Widgets())
    json.dumps([passed, hints])
    for page in pages(passed):
        if not page.startswith(BEGIN):
            assert_harmless(page)


def pages(value: Any) -> list[str]:
    """All HTML that stands anywhere in a message."""
    if isinstance(value, dict):
        own = [value["text/html"]] if isinstance(value.get("text/html"), str) else []
        return own + [page for one in value.values() for page in pages(one)]
    return [page for one in value for page in pages(one)] if isinstance(value, list) else []
