"""Notebooks that bring widgets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from moat_nb.sandbox import saved_widgets
from moat_nb.sandbox.saved_widgets import brings_widgets


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    ("text", "brings"),
    [
        ('{"metadata": {"widgets": {"x": 1}}}', True),
        ('{"metadata": {}, "metadata": {"widgets": {"x": 1}}}', True),
        ('{"metadata": {"a": NaN, "widgets": {"x": 1}}}', True),
        ("[" * 100_000, True),
        ('{"metadata": {"widgets": {}}}', False),
        ('{"metadata": []}', False),
        ('{"cells": [{"metadata": {"widgets": {"x": 1}}}]}', False),
        ("[]", False),
        ("no JSON", False),
        ("", False),
    ],
)
def test_they_are_found_as_jupyter_reads_it(
    tmp_path: Path, parent: int, text: str, brings: bool
) -> None:
    (tmp_path / "a.ipynb").write_text(text)
    assert brings_widgets("a.ipynb", parent) is brings


def test_of_one_that_is_too_large_it_is_not_known(
    tmp_path: Path, parent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_widgets, "MAX_BYTES", 10)
    (tmp_path / "a.ipynb").write_text('{"cells": []}')
    assert brings_widgets("a.ipynb", parent)


def test_no_link_is_followed_and_no_pipe_waited_for(tmp_path: Path, parent: int) -> None:
    (tmp_path / "a.ipynb").write_text('{"metadata": {"widgets": {"x": 1}}}')
    (tmp_path / "link").symlink_to("a.ipynb")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="symbolic links"):
        brings_widgets("link", parent)
    assert not brings_widgets("pipe", parent)
