"""Progress bars of widgets (tqdm.auto's) that a sandbox shows: as text that moves.

A cell of `%%moat` shows no widget of a sandbox's, whose models live in another kernel. Of a bar and
the words beside it, text tells all there is. What models say is the sandbox's word, and bounded.
"""

from __future__ import annotations

import html
import re
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from moat_nb.text.untrusted import as_dict

__all__ = ["ProgressBars"]

MAX_MODELS = 2000
MAX_TEXT = 500
MAX_CHILDREN, MAX_DEPTH = 20, 4
WIDTH = 10
SECONDS = 0.1
"""Between two texts of one bar: tqdm itself waits as long."""

_BARS = ("FloatProgressModel", "IntProgressModel")
_WORDS = ("HTMLModel", "LabelModel", "HTMLMathModel")
_BOXES = ("HBoxModel", "VBoxModel", "BoxModel")
_SILENT = ("LayoutModel", "ProgressStyleModel", "HTMLStyleModel", "LabelStyleModel")
_CHILD = "IPY_MODEL_"
_TAG = re.compile(r"<[^<>]*>")
_KEPT = ("value", "min", "max", "children", "_model_name")


@dataclass(kw_only=True)
class _View:
    text: str
    shown: float = field(default_factory=time.monotonic)


class ProgressBars:
    """Follows the models of one kernel's widgets; ids and states are as messages have them."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._views: OrderedDict[str, _View] = OrderedDict()

    def open(self, content: dict[str, Any]) -> bool:
        """Take a ``comm_open``; whether it may be part of a bar."""
        id, state = content.get("comm_id"), as_dict(as_dict(content.get("data")).get("state"))
        if not isinstance(id, str):
            return False
        self._models[id] = _kept(state)
        if len(self._models) > MAX_MODELS:
            self._models.popitem(last=False)
        return state.get("_model_name") in (*_BARS, *_WORDS, *_BOXES, *_SILENT)

    def view(self, model: object) -> str | None:
        """The text of a model that is displayed now; None where it is no bar."""
        if not isinstance(model, str) or (text := self._text(model)) is None:
            return None
        self._views[model] = _View(text=text)
        if len(self._views) > MAX_MODELS:
            self._views.popitem(last=False)
        return text

    def update(self, content: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Take a ``comm_msg``; the models that are displayed, each with its text if that is new and
        the last one is a moment old."""
        id, state = content.get("comm_id"), as_dict(as_dict(content.get("data")).get("state"))
        if isinstance(id, str) and (known := self._models.get(id)) is not None:
            known.update(_kept(state))
            yield from self._moved(SECONDS)

    def rest(self) -> Iterator[tuple[str, str]]:
        """The same of all, at the end of a cell."""
        yield from self._moved(0)
        self._views.clear()

    def _moved(self, seconds: float) -> Iterator[tuple[str, str]]:
        now = time.monotonic()
        for id, view in self._views.items():
            if now - view.shown >= seconds and (text := self._text(id)) not in (None, view.text):
                assert text is not None
                view.text, view.shown = text, now
                yield id, text

    def _text(self, id: str) -> str | None:
        """Of a model that has a bar in it."""
        parts = [*self._parts(id, MAX_DEPTH)]
        if not any(is_bar for is_bar, _ in parts):
            return None
        return " ".join(text for _, text in parts if text)

    def _parts(self, id: str, depth: int) -> Iterator[tuple[bool, str]]:
        model = self._models.get(id, {})
        name, children = model.get("_model_name"), model.get("children")
        if name in _BARS:
            yield True, _bar(model)
        elif name in _WORDS:
            yield False, _words(model.get("value"))
        elif name in _BOXES and depth and isinstance(children, list):
            for child in children:
                if child.startswith(_CHILD):
                    yield from self._parts(child.removeprefix(_CHILD), depth - 1)


def _kept(state: dict[str, Any]) -> dict[str, Any]:
    """What of a state is looked at, and no more of it."""
    kept: dict[str, Any] = {}
    for key in _KEPT:
        value = state.get(key)
        if isinstance(value, str):
            kept[key] = value[:MAX_TEXT]
        elif isinstance(value, list):
            kept[key] = [str(child)[:MAX_TEXT] for child in value[:MAX_CHILDREN]]
        elif isinstance(value, (int, float)):
            kept[key] = _number(value)
    return kept


def _bar(model: dict[str, Any]) -> str:
    low, high, value = (_number(model.get(key)) for key in ("min", "max", "value"))
    share = min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0
    full = round(share * WIDTH)
    return f"|{'█' * full}{' ' * (WIDTH - full)}|"


def _number(value: object) -> float:
    if isinstance(value, (int, float)) and abs(value) < 1e300:
        return float(value)
    return 0.0


def _words(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return " ".join(html.unescape(_TAG.sub("", text)).split())  # tqdm's spaces are wide ones
