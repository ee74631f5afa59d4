"""What the tests of the editor share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moat_nb import ExcludesEditor
from tests.unit.excludes.widget.editors import TEXT, settled


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for path in ("node_modules/x/y", "venv/pyvenv.cfg", "data/set.csv", ".env"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x" * 5000)
    (tmp_path / "moat.yaml").write_text(TEXT)
    return tmp_path


@pytest.fixture
def edit() -> Iterator[Callable[..., ExcludesEditor]]:
    """Opens an editor whose look has ended."""
    opened = []

    def make(path: Path, **options: object) -> ExcludesEditor:
        editor = ExcludesEditor(path, **options)
        opened.append(editor)
        settled(editor)
        return editor

    yield make
    for editor in opened:
        editor.close()
