"""What of a kernel's messages passes to clients, and in which form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from moat_nb.jupyter.output.safe import sanitise_mimebundle
from moat_nb.jupyter.relay.wire import Message

__all__ = ["Harmless"]

DISPLAYS = frozenset({"display_data", "execute_result", "update_display_data"})


class Harmless:
    """Knows one kernel's widgets, and which hints the user was given of a cell."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._hints: list[str] = []

    def begin_cell(self) -> None:
        self._given.clear()

    def forget(self) -> None:
        """Another kernel comes."""

    def hints(self) -> Sequence[str]:
        hints, self._hints = self._hints, []
        return hints

    def passed(self, channel: str, message: Message) -> Iterator[Message]:
        kind, content = message.kind, message.content
        if kind in DISPLAYS:
            data, metadata, hints = sanitise_mimebundle(
                _dict(content.get("data")), _dict(content.get("metadata"))
            )
            self._hint(hints)
            content = {**content, "data": data, "metadata": metadata}
        yield replace(message, content=content, metadata=_scalars(message.metadata))

    def _hint(self, hints: Sequence[str]) -> None:
        for hint in hints:
            if hint not in self._given:
                self._given.add(hint)
                self._hints.append(hint)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _scalars(metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in metadata.items()
        if isinstance(value, (str, int, float, bool)) and len(str(value)) < 200 and len(name) < 100
    }
