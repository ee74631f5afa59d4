"""A file's excludes as they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.excludes.draft import Draft
from moat_nb.excludes.file import read

W = "/workspace"
TEXT = """\
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules, gone]  # large
  - ./data:/data
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for path in ("node_modules/x/y", "venv/pyvenv.cfg", "data/set.csv", ".env"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x" * 5000)
    (tmp_path / "moat.yaml").write_text(TEXT)
    return tmp_path


def test_a_draft_is_put_onto_another_state_of_the_file(project: Path) -> None:
    draft = Draft.read(project).ask({W: ["node_modules/", "new"]})
    (project / "moat.yaml").write_text("mounts: [{source: ., target: /workspace, exclude: [gone]}]")
    assert draft.onto(read(project)).asked == {W: ("new",)}
