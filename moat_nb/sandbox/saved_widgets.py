"""Whether a notebook brings widgets of its own. ipywidgets shows those that are saved in a
notebook when it is opened, and asks nobody whether it is trusted: HTML and code of theirs act with
the rights of whoever opens it."""

from __future__ import annotations

import json
import os
import stat
from typing import Any

__all__ = ["SAVED_WIDGETS", "brings_widgets"]

SAVED_WIDGETS = "Jupyter, when it is opened: widgets saved in it may run script, trusted or not"

MAX_BYTES = 16 << 20
"""Of a larger one it is not known, so it counts."""


def brings_widgets(name: str, parent: int) -> bool:
    """Of the notebook ``name`` in the directory that is open as ``parent``; no link is followed.
    Raises OSError."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        return True
    try:
        notebook: Any = json.loads(data)  # as Jupyter's servers read it
    except ValueError:
        return False  # they do not open it
    except RecursionError:
        return True
    metadata = notebook.get("metadata") if isinstance(notebook, dict) else None
    return isinstance(metadata, dict) and bool(metadata.get("widgets"))
