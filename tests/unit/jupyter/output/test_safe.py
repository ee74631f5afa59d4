"""What of a display passes into the user's page, and what is put into a frame."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.jupyter.cells import json_without_halves
from moat_nb.jupyter.output.safe import HANDLED, PASSIVE, sanitise_mimebundle
from moat_nb.text.terminal import for_terminal


def shown(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return sanitise_mimebundle(data, metadata or {})[0]


def framed(page: str) -> str:
    """What a frame of ours holds in its inner frame."""
    (outer,) = re.findall('srcdoc="([^"]*)"', page)
    (inner,) = re.findall('srcdoc="([^"]*)"', html.unescape(outer))
    return html.unescape(inner)


def test_what_no_front_end_executes_passes_unchanged() -> None:
    data = {"text/plain": "x", "image/png": "AA==", "application/json": {"a": [1]}}
    assert shown(data) == data


@pytest.mark.parametrize(
    "image", ['"><script>1</script>', "https://example.com/", 7, None, ["AA=="]]
)
def test_an_image_that_is_none_is_left_out(image: Any) -> None:
    assert shown({"image/png": image, "image/jpeg": "/9j/4AAQ\n"}) == {"image/jpeg": "/9j/4AAQ\n"}


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.jupyter.widget-view+json",
        "application/vnd.vegalite.v5+json",
        "application/vnd.bokehjs_exec.v0+json",
        "application/x-moat-invented",
        "text/x-server-parsed-html",
    ],
)
def test_a_type_that_is_not_known_to_be_harmless_is_left_out_with_a_hint(kind: str) -> None:
    data, _, hints = sanitise_mimebundle({kind: "x", "text/plain": "words"}, {})
    assert data == {"text/plain": "words"}
    assert hints == [f"not shown: {kind}, which runs in your page; --trust shows it"]


def test_no_hint_where_another_form_of_it_is_shown() -> None:
    assert sanitise_mimebundle({"application/vnd.x+json": {}, "image/png": "AA=="}, {})[2] == []


def test_html_with_a_script_is_framed_and_plain_html_is_not() -> None:
    assert framed(shown({"text/html": "<script>1</script>"})["text/html"]).endswith(
        "<script>1</script>"
    )
    assert shown({"text/html": "<b>x</b>"}) == {"text/html": "<b>x</b>"}


def test_javascript_runs_in_a_frame_and_cannot_end_its_own_script_early() -> None:
    page = framed(shown({"application/javascript": "'</script><b>'"})["text/html"])
    assert page.endswith("'<\\/script><b>'</script>")


def test_an_svg_is_shown_as_an_image_as_which_it_runs_nothing() -> None:
    drawing = "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    page = shown({"image/svg+xml": drawing})["text/html"]
    found = re.fullmatch('<img src="data:image/svg\\+xml;base64,([A-Za-z0-9+/=]*)">', page)
    assert found is not None and base64.b64decode(found[1]).decode() == drawing


def test_markdown_is_shown_as_html_unless_the_display_has_its_own() -> None:
    data = {"text/markdown": "**x**<sub>1</sub>", "text/plain": "<Markdown object>"}
    html = "<p><strong>x</strong><sub>1</sub></p>\n"
    assert shown(data) == {"text/html": html, "text/plain": "<Markdown object>"}
    assert shown({**data, "text/html": "<i>y</i>"})["text/html"] == "<i>y</i>"


def test_of_metadata_what_images_and_json_need_passes_and_nothing_else() -> None:
    data = {"image/png": "AA==", "text/html": "<b>x</b>", "application/json": {}}
    metadata = {
        "image/png": {"width": 10, "height": -1, "unconfined": True, "needs_background": "dark"},
        "application/json": {"expanded": True, "needs_background": ["x"], "root": "x"},
        "text/html": {"isolated": True},
        "tags": ["x"],
    }
    assert sanitise_mimebundle(data, metadata)[1] == {
        "image/png": {"width": 10, "needs_background": "dark"},
        "application/json": {"expanded": True},
        "text/html": {},
    }


# Halves of characters too: JSON can say them, and no encoding.
TEXTS = st.text(st.characters(exclude_categories=()), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner),
    max_leaves=5,
)
KINDS = st.sampled_from([*sorted(PASSIVE | HANDLED), "x/y"])


@given(st.dictionaries(KINDS, JSON), st.dictionaries(KINDS, JSON))
def test_whatever_types_its_fields_have_a_display_is_shown_or_left_out(
    data: dict[str, Any], metadata: dict[str, Any]
) -> None:
    found, options, hints = sanitise_mimebundle(
        json_without_halves(data), json_without_halves(metadata)
    )
    json.dumps([found, options, hints], ensure_ascii=False).encode()
    assert set(found) <= PASSIVE | {"text/html", "text/latex"}
    assert all(isinstance(value, str) for kind, value in found.items() if "json" not in kind)
    assert set(options) <= set(found)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain\ttext\r\n", "plain\ttext\r\n"),
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        ("\x1b[2K\x1b[1A up", "\x1b[2K\x1b[1A up"),
        ("10%\r20%\b", "10%\r20%\b"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]52;c;ZXZpbA==\x1b\\x", "x"),
        ("\x1b[6nx", "x"),
        ("\x1b[?1049hx", "x"),
        ("\x1bcx", "x"),
        ("\x9b6nx", "6nx"),
        ("\x1bP+q\x1b\\x", "x"),
        ("a\x00b", "ab"),
    ],
)
def test_text_may_colour_a_terminal_and_not_steer_it(text: str, left: str) -> None:
    assert for_terminal(text) == left


def test_the_name_of_a_type_that_is_not_shown_steers_nothing_and_floods_nothing() -> None:
    names = {f"{n}\x1b]0;t\x07\n{'x' * 1000}": "1" for n in range(50)}
    (hint,) = sanitise_mimebundle(names, {})[2]
    assert hint.isprintable() and len(hint) < 700


def test_half_a_character_ends_no_display() -> None:
    for kind in ("text/html", "text/markdown", "image/svg+xml", "text/latex"):
        data, _, _ = sanitise_mimebundle({kind: "x\udfff"}, {})
        "".join(map(str, data.values())).encode()
