"""What cells show, as it is kept."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from moat_nb.grading import outputs
from moat_nb.grading.outputs import Outputs


def stream(text: str, name: str = "stdout") -> tuple[str, dict[str, Any], list[Any]]:
    return "stream", {"name": name, "text": text}, []


def begun(cell: int = 1) -> tuple[Outputs, threading.Event]:
    made, stop = Outputs(), threading.Event()
    made.begin(cell, stop)
    return made, stop


def test_each_cell_has_its_own_and_lines_of_one_stream_are_one() -> None:
    made, _ = begun(1)
    for shown in (stream("a\n"), stream("b\n"), stream("c", "stderr"), stream("d")):
        made.show(*shown)
    made.begin(4, threading.Event())
    made.show(*stream("e"))
    assert [(one["name"], one["text"]) for one in made.of(1)] == [
        ("stdout", "a\nb\n"),
        ("stderr", "c"),
        ("stdout", "d"),
    ]
    assert [one["text"] for one in made.of(4)] == ["e"]
    assert (made.of(2), made.too_much) == ([], False)


def test_what_is_cleared_is_gone() -> None:
    made, _ = begun()
    made.show(*stream("a"))
    made.show("clear_output", {"wait": False}, [])
    assert made.of(1) == []


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("status", {"execution_state": "idle"}),
        ("comm_open", {}),
        ("stream", {"name": 5}),
        ("stream", None),
        ("nonsense", {"text": "x"}),
    ],
)
def test_what_is_no_output_is_not_kept(kind: str, content: Any) -> None:
    made, _ = begun()
    made.show(kind, content, [])
    assert made.of(1) == []


def test_what_is_kept_is_harmless() -> None:
    made, _ = begun()
    made.show(*stream("\x1b]0;title\x07text"))
    for page in ("<b>bold</b>", "<script>alert(1)</script>"):
        data = {"text/html": page, "text/plain": "x", "application/javascript": "alert(2)"}
        made.show("display_data", {"data": data, "metadata": {}, "transient": {}}, [])
    text, bold, framed = made.of(1)
    assert (text["text"], bold["data"]["text/html"]) == ("text", "<b>bold</b>")
    assert ' sandbox="allow-scripts" ' in framed["data"]["text/html"]
    assert "alert(2)" not in str(made.of(1))


@pytest.mark.parametrize(("name", "limit"), [("MAX_KEPT", 100), ("MAX_OUTPUTS", 10)])
def test_more_than_is_kept_stops_the_cell(
    monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    monkeypatch.setattr(outputs, name, limit)
    made, stop = begun()
    shown = 0
    while not stop.is_set():
        made.show(*stream("y", f"std{'out' if shown % 2 else 'err'}"))
        shown += 1
        assert shown < 200
    assert made.too_much
    assert len(str(made.of(1))) < 3000
    before = made.of(1).copy()
    made.show(*stream("y" * 1000))
    assert made.of(1) == before
