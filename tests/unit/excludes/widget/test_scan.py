"""The look at a mount's source, in a thread of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moat_nb import ExcludesEditor
from moat_nb.excludes.suggest import Candidate
from tests.unit.excludes.widget.editors import W, ask, settled


def test_a_look_can_be_ended_and_begun_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look stands at a gate of ours, as it would on a slow disk."""
    gate = threading.Event()
    real = os.scandir

    def slow(path: object) -> object:
        gate.wait(20)
        return real(path)

    monkeypatch.setattr("moat_nb.planning.walk.os.scandir", slow)
    editor = ExcludesEditor(project)
    assert editor.looking == "looking"
    editor.cancel()
    gate.set()
    for thread in threading.enumerate():
        if thread.name == "moat-scan":
            thread.join(20)
    assert (editor.looking, editor.suggestions[W]) == ("part", [])
    editor.rescan()
    settled(editor)
    assert editor.suggestions[W]
    editor.close()


def test_who_observes_the_facts_may_end_the_look_that_is_about_to_show_some(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two threads would wait for what the other holds, if traits were set under a lock."""
    go, shows = threading.Event(), threading.Event()
    real = ExcludesEditor._on_found

    def scan(*_: object) -> Iterator[Candidate]:
        go.wait(20)
        yield Candidate(pattern="venv", reason="large", kind="directory", places=1)

    def show(editor: ExcludesEditor, *found: Any) -> None:
        shows.set()
        real(editor, *found)

    monkeypatch.setattr("moat_nb.excludes.widget.scan.scan", scan)
    monkeypatch.setattr(ExcludesEditor, "_on_found", show)
    editor = ExcludesEditor(project)
    asks = threading.Thread(target=ask, args=(editor, "x"), daemon=True)

    def end(_: object) -> None:
        if threading.current_thread() is asks:
            go.set()
            shows.wait(20)
            editor.cancel()

    editor.observe(end, "facts")
    asks.start()
    asks.join(20)
    assert not asks.is_alive()
    assert {"x", "venv"} <= editor.facts[W].keys()
    editor.close()
