"""The readers of what a sandbox displays, and of the values that it sends."""

from __future__ import annotations

import contextlib
import io
import json
from html.parser import HTMLParser
from typing import Any

import pyarrow
from hypothesis import strategies as st

from moat_nb.jupyter.output import markdown
from moat_nb.jupyter.output.messages import sanitise
from moat_nb.jupyter.output.safe import sanitise_mimebundle
from moat_nb.jupyter.output.sanitise import plain_html
from moat_nb.jupyter.output.tex import is_plain_tex
from moat_nb.jupyter.output.widgets import Widgets
from moat_nb.notebook.values import codec
from moat_nb.notebook.values.transfer import _unpack
from tests.fuzz.inputs import JSON, TEXT, harmless, mutated, nearly


class Elements(HTMLParser):
    """Every element and attribute of a page must be one that does nothing."""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "style", "iframe", "object", "embed", "svg", "math", "form")
        for name, value in attributes:
            assert not name.startswith("on") and name not in ("srcdoc", "formaction"), name
            assert "script:" not in (value or "").lower() or name in ("title", "alt"), value


def page(text: str) -> None:
    shown = plain_html(text)
    if shown is not None:
        Elements().feed(shown)


def markdown_text(text: str) -> None:
    page(markdown.as_html(text))


def bundle(parts: tuple[Any, Any]) -> None:
    data, metadata, hints = sanitise_mimebundle(*parts)
    json.dumps([data, metadata, hints])
    for hint in hints:
        harmless(hint)
    if "text/latex" in data:
        tex(data["text/latex"])


def tex(text: str) -> None:
    """What is let through names nothing that acts, however it is read."""
    if is_plain_tex(text):
        for name in ("unicode", "href", "style", "class", "def", "let", "require", "newcommand"):
            assert f"\\{name}" not in text.replace("\\\\", ""), text


def message(parts: tuple[str, Any]) -> None:
    kind, content = parts
    passed, hints = sanitise(kind, content)
    json.dumps([passed, hints])
    again = Widgets()
    for _ in range(2):
        passed, hints = again.sanitise(kind, content)
        json.dumps([passed, hints])
    if isinstance(content, dict):
        again.view(content)


HTML = st.lists(
    st.sampled_from(
        [
            *(
                "<p ",
                "<a href=",
                "<img src=",
                "<script>",
                "</script>",
                "<style>",
                "<svg>",
                "<math>",
            ),
            *("onerror=1", "style='", "'", '"', ">", "/>", "<!--", "-->", "<![CDATA[", "`", "&lt;"),
            *(
                "javascript:",
                "data:image/png;base64,AA==",
                "$",
                "\\(",
                "\\unicode[x]",
                "\\frac",
                "{",
            ),
            *("}", "```", "* ", "\n\n", "    ", "[x](", "![x](", ")", "<b>", "</b>", "|", "&#106;"),
        ]
    )
    | TEXT,
    max_size=14,
).map("".join)

TYPES = st.sampled_from(
    [
        *("text/html", "text/latex", "text/markdown", "image/svg+xml", "application/javascript"),
        *(
            "text/plain",
            "image/png",
            "application/json",
            "application/vnd.jupyter.widget-view+json",
        ),
    ]
)
BUNDLES = st.tuples(
    st.dictionaries(TYPES | TEXT, HTML | JSON, max_size=4),
    st.dictionaries(TYPES | TEXT, JSON, max_size=3),
)
KINDS = st.sampled_from(
    [
        *("display_data", "execute_result", "stream", "error", "status", "execute_reply"),
        *("comm_open", "comm_msg", "comm_close", "comm_info_reply", "kernel_info_reply"),
        *("inspect_reply", "complete_reply", "history_reply", "input_request", "debug_event"),
        "clear_output",
    ]
)
CONTENTS = (
    {"data": {"text/html": "<b>x</b>"}, "metadata": {}, "transient": {"display_id": "x"}},
    {"name": "stdout", "text": "x"},
    {"ename": "E", "evalue": "x", "traceback": ["x"], "status": "error"},
    {"status": "ok", "payload": [{"source": "page", "data": {"text/plain": "x"}, "start": 0}]},
    {"comm_id": "a" * 32, "target_name": "jupyter.widget", "data": {"state": {
        "_model_module": "@jupyter-widgets/controls", "_model_module_version": "2.0.0",
        "_model_name": "HTMLModel", "value": "<b>x</b>"}, "buffer_paths": [["value"]]}},
    {"comm_id": "a" * 32, "data": {"method": "update", "state": {"value": "x"}}},
)  # fmt: skip


# ---------------------------------------------------------------- values


def _stream() -> bytes:
    table = pyarrow.table({"a": [1, 2, None], "b": ["x", "y", "z"], "c": [[1], [], [2, 3]]})
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def value(packed: dict[str, Any]) -> None:
    """Whatever is sent, this process goes on, and with no more memory than it was sent."""
    before = pyarrow.total_allocated_bytes()
    with contextlib.suppress(Exception):
        _unpack(packed)
    assert pyarrow.total_allocated_bytes() - before < 64 << 20


def _as_text(stream: bytes) -> str:
    return codec.base64.b64encode(stream).decode()


FORMS = st.sampled_from(["json", "arrow", "frame", "text", "error", "x"])
PACKED = st.fixed_dictionaries(
    {"form": st.just("arrow"), "kind": st.sampled_from(["pandas.DataFrame", "pandas.Series", "x"])}
).flatmap(
    lambda packed: mutated(_stream()).map(lambda stream: {**packed, "text": _as_text(stream)})
) | st.fixed_dictionaries({}, optional={"form": FORMS | JSON, "kind": TEXT | JSON, "text": TEXT})

OUTPUTS = {
    "HTML": (HTML, page),
    "Markdown": (HTML, markdown_text),
    "TeX": (HTML, tex),
    "displays": (BUNDLES, bundle),
    "messages": (st.tuples(KINDS | TEXT, nearly(*CONTENTS) | JSON), message),
    "values": (PACKED, value),
}
