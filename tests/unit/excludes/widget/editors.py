"""The project whose excludes the tests edit, and what they do with an editor."""

from __future__ import annotations

import time
from collections.abc import Callable

from moat_nb import ExcludesEditor

Edit = Callable[..., ExcludesEditor]

W = "/workspace"
TEXT = """\
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules, gone]  # large
  - ./data:/data
"""


def settled(editor: ExcludesEditor) -> None:
    give_up = time.monotonic() + 20
    while editor.looking == "looking" and time.monotonic() < give_up:
        time.sleep(0.01)
    assert editor.looking == "done"


def ask(editor: ExcludesEditor, *listed: str, target: str = W) -> None:
    editor.excludes = {**editor.excludes, target: list(listed)}
