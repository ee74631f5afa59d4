"""What a submission's cells show, kept harmless and bounded, as notebooks keep it."""

from __future__ import annotations

import threading
from typing import Any

from moat_nb.jupyter.output import messages
from moat_nb.jupyter.output.effort import bounded

__all__ = ["IMAGES", "MAX_KEPT", "Outputs", "still"]

MAX_KEPT = 10 << 20
"""Characters of all outputs of one submission."""
MAX_OUTPUTS = 10_000
MAX_HTML = 200_000
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


class Outputs:
    """``show`` is a :data:`moat_nb.jupyter.cells.Show` for each cell after :meth:`begin`.

    ``too_much`` is set, and ``stop`` called, once more was shown than is kept.
    """

    def __init__(self) -> None:
        self.too_much = False
        self._kept = 0
        self._count = 0
        self._of: dict[int, list[dict[str, Any]]] = {}
        self._cell = 0
        self._stop = threading.Event()

    def begin(self, cell: int, stop: threading.Event) -> None:
        """Have what comes be the output of this cell; ``stop`` is set where it is too much."""
        self._cell, self._stop = cell, stop

    def of(self, cell: int) -> list[dict[str, Any]]:
        """Its outputs, as nbformat has them."""
        return self._of.get(cell, [])

    def show(self, kind: str, content: dict[str, Any], buffers: list[Any]) -> None:
        kept = self._of.setdefault(self._cell, [])
        if kind == "clear_output":
            kept.clear()
        if kind not in messages.OUTPUTS:
            return
        with bounded():
            shown, _ = messages.sanitise(kind, content)
        if shown is None:
            return
        self._count += 1
        self._kept += _size(shown)
        if self._kept > MAX_KEPT or self._count > MAX_OUTPUTS:
            self.too_much = True
            self._stop.set()
            return
        last = kept[-1] if kept else {}
        if kind == "stream" and last.get("name") == shown.get("name"):
            last["text"] += shown["text"]
            return
        kept.append({"output_type": kind, **shown})


def still(data: dict[str, Any]) -> dict[str, str]:
    """The forms of a display that a page can show without its scripts, by their types; always
    ``text/plain`` among them."""
    kept = {name: "".join(data[name].split()) for name in IMAGES if isinstance(data.get(name), str)}
    page = data.get("text/html")
    if isinstance(page, str) and "<iframe" not in page and len(page) < MAX_HTML:
        kept["text/html"] = page
    text = data.get("text/plain")
    kept["text/plain"] = text if isinstance(text, str) else "(shown in no form of this page's)"
    return kept


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(name) + _size(inner) for name, inner in value.items())
    if isinstance(value, list):
        return sum(map(_size, value)) + len(value)
    return 8
