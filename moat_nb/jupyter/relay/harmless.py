"""What of a kernel's messages passes to clients, and in which form."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from moat_nb.jupyter.output import messages
from moat_nb.jupyter.output.drawings import Drawings
from moat_nb.jupyter.output.effort import bounded
from moat_nb.jupyter.output.widgets import COMMS, Widgets
from moat_nb.jupyter.relay.wire import Message, Signer

__all__ = ["Harmless"]

IOPUB = (
    messages.OUTPUTS
    | messages.DISPLAYS
    | COMMS
    | {"clear_output", "debug_event", "execute_input", "shutdown_reply", "status"}
)
"""What comes over iopub. A kernel's welcome is for the relay, which has its own for clients."""

MAX_HINTS = 50
"""Of one cell; they name what the sandbox says."""

MAX_METADATA = 20
LONGEST_NAME, LONGEST_VALUE = 100, 200


class Harmless:
    """Knows a client's widgets and figures, and which hints the user was given of a cell."""

    def __init__(self) -> None:
        # A page keeps its widgets over restarts, so that what an id means stays as it is.
        self._widgets = Widgets()
        self.drawings = Drawings()
        self._given: set[str] = set()
        self._hints: list[str] = []

    def begin_cell(self) -> None:
        self._given.clear()

    def hints(self) -> list[str]:
        """What the user should know of what passed last, each once a cell."""
        hints, self._hints = self._hints, []
        return hints

    def frames(self, channel: str, message: Message, signer: Signer) -> list[bytes] | None:
        """What :meth:`passed` gives, signed; None for nothing, which no page hears of then."""
        self._widgets.settle()
        sent = None
        try:
            with bounded():
                passed = self.passed(channel, message)
            sent = None if passed is None else passed.frames(signer)
        except Exception:  # a fault of ours, which a sandbox found: no message may end the relay
            traceback.print_exc()
        if sent is None:
            self.take_back()
        return sent

    def take_back(self) -> None:
        """What passed last is not sent."""
        self._widgets.take_back()

    def passed(self, channel: str, message: Message) -> Message | None:
        """What passes of a message that came over ``shell``, ``control``, ``stdin`` or ``iopub``;
        None for nothing."""
        kind = message.kind
        if not _belongs(kind, channel):
            return None
        comm = kind in COMMS or kind == "comm_info_reply"
        if comm:
            content, hints = self._widgets.sanitise(kind, message.content)
        else:
            content, hints = messages.sanitise(kind, message.content, self._widgets, self.drawings)
        self._hint(hints)
        if content is None:
            return None
        return replace(
            message,
            header={**message.header, "msg_type": messages.sent_as(kind, content)},
            content=content,
            metadata=_scalars(message.metadata),
            buffers=message.buffers if comm else (),
        )

    def _hint(self, hints: Iterable[str]) -> None:
        for hint in hints:
            if hint not in self._given and len(self._given) < MAX_HINTS:
                self._given.add(hint)
                self._hints.append(hint)


def _belongs(kind: str, channel: str) -> bool:
    if channel == "iopub":
        return kind in IOPUB
    return kind == "input_request" if channel == "stdin" else kind.endswith("_reply")


def _scalars(metadata: dict[str, Any]) -> dict[str, Any]:
    """Of a message's own metadata what kernels say: when it began, the version of widgets."""
    return {
        name: value
        for name, value in list(metadata.items())[:MAX_METADATA]
        if len(name) <= LONGEST_NAME and (isinstance(value, (bool, int, float)) or _is_short(value))
    }


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_VALUE
