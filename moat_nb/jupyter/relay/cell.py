"""The cell that runs: what its client waits for, and what is said in it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from moat_nb.jupyter.relay.wire import Message, header_of, made_header
from moat_nb.jupyter.relay.work import Asked

__all__ = ["Cell"]

LOST_SECONDS = 1.0
"""From the break of a connection to what is said of it: a kernel that ends breaks all of them, and
the launcher soon says so."""

LOST = (
    "the connection to the kernel broke, and what it sent meanwhile is lost; a message longer than "
    "64 MiB does that"
)


class Cell:
    """The last that a client asked to execute, or none."""

    def __init__(self) -> None:
        self._session = uuid.uuid4().hex
        self._identities: Sequence[bytes] = ()
        self._header: dict[str, Any] = {}
        self.running = False
        self._idle = True
        self._broken: dict[str, float] = {}
        """The channels whose connections broke, and when."""

    def begin(self, identities: Sequence[bytes], parts: Sequence[bytes]) -> bool:
        """Take a client's signed message for a request; whether it is one that shows output."""
        header = header_of(parts)
        if header.get("msg_type") != "execute_request" or _is_silent(parts[3]):
            return False
        self._identities, self._header = list(identities), header
        self.running, self._idle = True, False
        return True

    def is_of(self, message: Message) -> bool:
        """Whether a kernel's message belongs to it."""
        return self.has_been and message.parent.get("msg_id") == self._header.get("msg_id")

    def hear(self, message: Message) -> None:
        """Follow what the kernel says of it."""
        if not self.is_of(message):
            return
        if message.kind == "execute_reply":
            self.running = False
        elif message.kind == "status":
            self._idle = message.content.get("execution_state") == "idle"

    def end(self) -> None:
        """With its kernel; a client finds that out by itself."""
        self.running, self._idle = False, True
        self._broken.clear()

    # -------- what is said in it

    def text(self, text: str) -> Message:
        return self._made("stream", {"name": "stderr", "text": f"moat: {text}\n"})

    def death(self, why: str, header: Mapping[str, Any] | None) -> Message:
        """Shown in the cell with that header; else in the last that was begun."""
        return self._made("error", _error("KernelDied", why), header)

    def welcome(self, topic: bytes) -> Message:
        """What a client is told that subscribed; of no cell."""
        content = {"subscription": topic.decode(errors="replace")}
        made = self._made("iopub_welcome", content)
        return replace(made, identities=[topic] if topic else [], parent={})

    @property
    def has_been(self) -> bool:
        """Whether there is a cell where something can be shown."""
        return bool(self._header)

    def unanswered(self, asked: Asked, why: str, *, first: bool) -> tuple[list[Message], Message]:
        """What ends a cell that no kernel will answer: on iopub, and on shell."""
        identities, header = asked
        error = _error("KernelDied", why)
        shown = [self._made("error", error, header)] if first else []
        reply = {"status": "error", **error} if first else {"status": "aborted"}
        return (
            [*shown, self._made("status", {"execution_state": "idle"}, header)],
            replace(self._made("execute_reply", reply, header), identities=identities),
        )

    def _made(
        self, kind: str, content: dict[str, Any], parent: Mapping[str, Any] | None = None
    ) -> Message:
        return Message(
            identities=[kind.encode()],
            header=made_header(kind, self._session),
            parent=dict(self._header if parent is None else parent),
            content=content,
        )

    # -------- what was lost

    def broke(self, channel: str) -> None:
        """The connection of ``shell`` or ``iopub`` broke."""
        self._broken.setdefault(channel, time.monotonic())

    @property
    def waits_for_lost(self) -> bool:
        return bool(self._broken)

    def make_up(self) -> tuple[list[Message], list[Message]]:
        """What is to be said on iopub and on shell in place of what will not come any more."""
        if not self._broken or time.monotonic() - min(self._broken.values()) < LOST_SECONDS:
            return [], []
        iopub: list[Message] = []
        shell: list[Message] = []
        if self._header:
            iopub.append(self.text(LOST))
        if "iopub" in self._broken and not self.running and not self._idle:
            iopub.append(self._made("status", {"execution_state": "idle"}))
        if "shell" in self._broken and self.running and self._idle:
            content = {"status": "error", **_error("ReplyLost", LOST)}
            reply = self._made("execute_reply", content)
            shell.append(replace(reply, identities=self._identities))
            self.running = False
        self._broken.clear()
        return iopub, shell


def _is_silent(content: bytes) -> bool:
    """Also of a request that no kernel could read, and so none answers."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return True
    return not isinstance(found, dict) or bool(found.get("silent"))


def _error(name: str, text: str) -> dict[str, Any]:
    return {"ename": name, "evalue": text, "traceback": [f"{name}: {text}"]}
