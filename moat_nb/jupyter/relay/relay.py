"""The relay of one kernel at a time: from clients as it comes, to clients what is harmless.

Everything that a kernel sends is read, checked and signed anew. What clients send is theirs to
send, so only its signature is looked at.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from moat_nb.jupyter.relay.harmless import Harmless
from moat_nb.jupyter.relay.options import RelayOptions
from moat_nb.jupyter.relay.sockets import ClientSockets, KernelSockets
from moat_nb.jupyter.relay.wire import Message, Signer, made_header, parts_of, read, signed_anew

__all__ = ["Relay"]

Socket = zmq.Socket[bytes]

OUTPUT_LIMIT = 256 << 20
"""Bytes that a kernel may send between two requests to execute something. A server keeps what its
browser does not fetch, so this bounds a server's memory too."""
OUTPUT_RATE = 16 << 10
"""Bytes a second that it may send beside, for cells that run for days."""

ALWAYS_PASSES = 64 << 10
"""Bytes of a reply or a status that passes although nothing else does."""

CONNECT_MILLISECONDS = 10
"""Between two looks for a kernel's sockets."""

LAST_MILLISECONDS = 500
"""At the end, for what is on its way to clients."""

BATCH = 64
"""How many messages of one socket are handled before the others have their turn."""

MAX_NOTES = 20


class Relay:
    def __init__(self, options: RelayOptions, commands: int) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        key = str(options.client.get("key", "")).encode()
        scheme = str(options.client.get("signature_scheme") or "hmac-sha256")
        self._to_client = Signer(key, scheme)
        self._to_kernel = Signer(b"")
        self._session = uuid.uuid4().hex
        self._clients = ClientSockets(self._context, options.client)
        self._kernel: KernelSockets | None = None
        self._trusted = options.trusted
        self._harmless = Harmless()
        self._cell: dict[str, Any] = {}
        """The header of the last request to execute something, and whether it runs still."""
        self._running = False
        self._notes: list[str] = []
        self._left: float = OUTPUT_LIMIT
        self._heard = time.monotonic()
        self._over = False
        self._commands = commands
        self._unread = b""
        self._poller = zmq.Poller()
        self._poller.register(commands, zmq.POLLIN)
        self._poller.register(self._clients.iopub, zmq.POLLIN)
        self._handlers: dict[Any, Callable[[], None]] = {
            commands: self._obey,
            self._clients.iopub: self._subscriptions,
        }
        self._ended = False
        self._connected = False

    def run(self) -> None:
        """Until stdin ends."""
        while not self._ended:
            waits = self._kernel is not None and not self._connected
            for socket, _ in self._poller.poll(CONNECT_MILLISECONDS if waits else None):
                if socket in self._handlers:
                    self._handlers[socket]()
            if self._kernel is not None and not self._connected:
                self._connect()
        self._leave_kernel()
        self._context.destroy(linger=LAST_MILLISECONDS)

    # -------- the launcher

    def _obey(self) -> None:
        received = os.read(self._commands, 1 << 16)
        self._ended = not received
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if "connect" in command:
                self._leave_kernel()
                self._to_kernel = Signer(command["key"].encode())
                self._kernel = KernelSockets(self._context, command["connect"])
                self._connect()
            elif "ended" in command:
                self._drain()
                self._tell_end(command["ended"])
                self._leave_kernel()
            else:
                self._note(command["note"])

    # -------- the kernel's sockets

    def _connect(self) -> None:
        """Connect to what is there; once all is, let clients' messages through."""
        kernel = self._kernel
        assert kernel is not None
        self._connected = kernel.connect()
        if not self._connected:
            return
        clients = self._clients
        for client, inner, channel in (
            (clients.shell, kernel.shell, "shell"),
            (clients.control, kernel.control, "control"),
            (clients.stdin, kernel.stdin, "stdin"),
        ):
            self._handle(client, self._to, client, inner)
            self._handle(inner, self._from, inner, client, channel)
        self._handle(kernel.iopub, self._from, kernel.iopub, clients.iopub, "iopub")
        self._handle(clients.heartbeat, _beat, clients.heartbeat, kernel.heartbeat)
        self._handle(kernel.heartbeat, _beat, kernel.heartbeat, clients.heartbeat)

    def _handle(self, socket: Socket, handler: Callable[..., None], *arguments: Any) -> None:
        self._handlers[socket] = functools.partial(handler, *arguments)
        self._poller.register(socket, zmq.POLLIN)

    def _leave_kernel(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel is None:
            return
        clients = self._clients
        if self._connected:
            # What clients ask now waits for the next kernel.
            for socket in (clients.shell, clients.control, clients.stdin, clients.heartbeat):
                self._forget(socket)
            for socket in kernel.all:
                self._forget(socket)
        self._connected = False
        self._harmless.begin_kernel()
        kernel.close()

    def _forget(self, socket: Socket) -> None:
        del self._handlers[socket]
        self._poller.unregister(socket)

    # -------- from clients

    def _to(self, client: Socket, kernel: Socket) -> None:
        for frames in _received(client):
            split = parts_of(frames)
            if split is None or not self._to_client.signed(split[1], split[2]):
                continue
            if b"execute_request" in split[2][0]:
                self._asked(split[2])
            kernel.send_multipart(signed_anew(frames, self._to_kernel), zmq.NOBLOCK)

    def _asked(self, parts: Sequence[bytes]) -> None:
        self._left, self._over = OUTPUT_LIMIT, False
        header, content = json.loads(parts[0]), json.loads(parts[3])
        if header.get("msg_type") == "execute_request" and not content.get("silent"):
            self._cell, self._running = header, True
            self._harmless.begin_cell()
            for note in self._notes:
                self._publish_text(note)
            self._notes.clear()

    def _subscriptions(self) -> None:
        """Answer each as a kernel does (JEP 65), so that clients know that they hear all."""
        for frames in _received(self._clients.iopub):
            if frames[0][:1] == b"\x01":
                topic = frames[0][1:]
                content = {"subscription": topic.decode(errors="replace")}
                identities = [topic] if topic else []
                self._publish("iopub_welcome", content, parent={}, identities=identities)

    # -------- from the kernel

    def _from(self, kernel: Socket, client: Socket, channel: str) -> None:
        for frames in _received(kernel):
            message = read(frames)
            if message is None or not self._affordable(message, sum(map(len, frames))):
                continue
            passed = self._passed(channel, message, frames)
            if passed is not None:
                client.send_multipart(passed, copy=False)
            self._follow(message)
            for hint in self._harmless.hints():
                self._publish_text(hint)

    def _passed(
        self, channel: str, message: Message, frames: list[bytes]
    ) -> Sequence[bytes] | None:
        if self._trusted:
            return signed_anew(frames, self._to_client)
        harmless = self._harmless.passed(channel, message)
        return None if harmless is None else harmless.frames(self._to_client)

    def _affordable(self, message: Message, size: int) -> bool:
        now = time.monotonic()
        self._left = min(self._left + (now - self._heard) * OUTPUT_RATE, OUTPUT_LIMIT)
        self._heard = now
        small = size < ALWAYS_PASSES and (
            message.kind == "status" or message.kind.endswith("_reply")
        )
        if size <= self._left:
            self._left -= size
            return True
        if not self._over:
            self._over = True
            self._note(
                f"more than {OUTPUT_LIMIT >> 20} MiB of output came from the sandbox; "
                "what comes until the next cell is run is not shown"
            )
        return small

    def _follow(self, message: Message) -> None:
        if message.kind == "execute_reply" and self._is_of_cell(message):
            self._running = False

    def _is_of_cell(self, message: Message) -> bool:
        return message.parent.get("msg_id") == self._cell.get("msg_id")

    # -------- what we say ourselves

    def _drain(self) -> None:
        """What a kernel sent before it died."""
        if self._kernel is not None and self._connected:
            clients, kernel = self._clients, self._kernel
            self._from(kernel.iopub, clients.iopub, "iopub")
            self._from(kernel.shell, clients.shell, "shell")

    def _note(self, text: str) -> None:
        """Show ``text`` in the cell that runs, else in the next one."""
        if self._running:
            self._publish_text(text)
        elif len(self._notes) < MAX_NOTES and text not in self._notes:
            self._notes.append(text)

    def _tell_end(self, why: str) -> None:
        """A front end says no more than that a kernel has died."""
        if not why:
            self._running = False
            return
        if not self._running:
            self._note(f"the kernel before this one ended: {why}")
            return
        self._running = False
        content = {"ename": "KernelDied", "evalue": why, "traceback": [f"KernelDied: {why}"]}
        self._publish("error", content, parent=self._cell, identities=[b"error"])

    def _publish_text(self, text: str) -> None:
        content = {"name": "stderr", "text": f"moat: {text}\n"}
        self._publish("stream", content, parent=self._cell, identities=[b"stream"])

    def _publish(
        self, kind: str, content: dict[str, Any], *, parent: dict[str, Any], identities: list[bytes]
    ) -> None:
        message = Message(
            identities=identities,
            header=made_header(kind, self._session),
            parent=parent,
            content=content,
        )
        frames = message.frames(self._to_client)
        assert frames is not None
        self._clients.iopub.send_multipart(frames)


def _received(socket: Socket) -> Any:
    """What has arrived, of many the first: the frames of each message."""
    with contextlib.suppress(zmq.Again):
        for _ in range(BATCH):
            yield socket.recv_multipart(zmq.NOBLOCK)


def _beat(here: Socket, there: Socket) -> None:
    for frames in _received(here):
        with contextlib.suppress(zmq.ZMQError):
            there.send_multipart(frames, zmq.NOBLOCK)
