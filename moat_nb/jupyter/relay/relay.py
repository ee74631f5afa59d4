"""The relay of one kernel at a time: from clients as it comes, to clients what is harmless.

Everything that a kernel sends is read, checked and signed anew. What clients send is theirs to
send, so only its signature is looked at.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import zmq

from moat_nb.jupyter.relay.allowance import TOO_MUCH, Allowance
from moat_nb.jupyter.relay.cell import Cell
from moat_nb.jupyter.relay.harmless import Harmless
from moat_nb.jupyter.relay.libraries import Libraries
from moat_nb.jupyter.relay.met_limits import MetLimits
from moat_nb.jupyter.relay.notes import ORDINARY, Notes
from moat_nb.jupyter.relay.options import NO_SPACE, RelayOptions
from moat_nb.jupyter.relay.sockets import (
    BREAK_MILLISECONDS,
    CONNECT_MILLISECONDS,
    DRAIN_SECONDS,
    HEARD_SECONDS,
    LAST_MILLISECONDS,
    ClientSockets,
    KernelSockets,
    Socket,
    beat,
    offer,
    received,
)
from moat_nb.jupyter.relay.wire import Message, Signer, header_of, own_parts, read, signed_anew
from moat_nb.jupyter.relay.work import Asked, Work

__all__ = ["Relay"]


class Relay:
    def __init__(self, options: RelayOptions, commands: int) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        key = str(options.client.get("key", "")).encode()
        scheme = str(options.client.get("signature_scheme") or "hmac-sha256")
        self._to_client = Signer(key, scheme)
        self._to_kernel = Signer(b"")
        self._clients = ClientSockets(self._context, options.client)
        self._kernel: KernelSockets | None = None
        self._prefix = ""
        self._trusted = options.trusted
        self._harmless = Harmless()
        self._libraries = Libraries(self._harmless.drawings)
        self._allowance = Allowance()
        self._cell = Cell()
        self._met_limits = MetLimits()
        self._work = Work(lambda word: self._tell(word.encode()))
        self._held: list[list[bytes]] = []
        """What was asked on shell while there was no sandbox."""
        self._notes = Notes()
        self._commands = commands
        self._unread = b""
        self._poller = zmq.Poller()
        self._poller.register(commands, zmq.POLLIN)
        self._poller.register(self._clients.iopub, zmq.POLLIN)
        self._handlers: dict[Any, Callable[[], object]] = {
            commands: self._obey,
            self._clients.iopub: self._subscriptions,
        }
        self._ended = False
        self._connected = False
        self._is_heard = False
        self._opens = 0.0
        """When what is asked on shell is let through at the latest, by the monotonic clock."""

    def run(self) -> None:
        """Until stdin ends."""
        while not self._ended:
            for socket, _ in self._poller.poll(self._patience()):
                if socket in self._handlers:
                    self._handlers[socket]()
            if self._kernel is not None and not self._connected:
                self._connect()
            if self._holds_shell and (self._is_heard or time.monotonic() > self._opens):
                self._open_shell()
            if self._cell.waits_for_lost:
                self._make_up()
            if self._met_limits.overdue:
                self._say_space("")
        self._leave_kernel()
        self._context.destroy(linger=LAST_MILLISECONDS)

    def _patience(self) -> int | None:
        """For how many milliseconds nothing needs to be looked at that is not said."""
        if self._holds_shell or (self._kernel is not None and not self._connected):
            return CONNECT_MILLISECONDS
        waits = self._cell.waits_for_lost or self._met_limits.cell is not None
        return BREAK_MILLISECONDS if waits else None

    @property
    def _holds_shell(self) -> bool:
        return self._connected and self._clients.shell not in self._handlers

    # -------- the launcher

    def _obey(self) -> None:
        piece = os.read(self._commands, 1 << 16)
        self._ended = not piece
        *lines, self._unread = (self._unread + piece).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if "connect" in command:
                self._leave_kernel()
                self._clients.keep_early()
                if self._clients.shell in self._handlers:  # what came was held
                    self._forget(self._clients.shell)
                self._to_kernel = Signer(command["key"].encode())
                self._prefix = command["connect"]
                self._kernel = KernelSockets(self._context, self._prefix)
                self._connect()
            elif "ended" in command:
                if command["ended"] == self._prefix:  # else another has come already
                    self._drain()
                    self._tell_end(command["why"])
                    self._leave_kernel()
            elif "space" in command:
                self._say_space(command["space"])
            elif "asleep" in command:
                if command["asleep"] == self._prefix or not self._prefix:
                    self._drain()
                    self._fall_asleep(command["why"])
            elif "refused" in command:
                self._refuse_held(command["refused"])
            else:
                weight = command.get("weight", ORDINARY)
                self._note(command["note"], now=command.get("now", False), weight=weight)

    def _tell(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # a launcher that has died
            os.write(sys.stdout.fileno(), word + b"\n")

    # -------- the kernel's sockets

    def _connect(self) -> None:
        """Connect to what is there; once all is, let all but the clients' shell through."""
        kernel = self._kernel
        assert kernel is not None
        self._connected = kernel.connect()
        if not self._connected:
            return
        self._opens = time.monotonic() + HEARD_SECONDS
        clients = self._clients
        for client, inner, channel in (
            (clients.shell, kernel.shell, "shell"),
            (clients.control, kernel.control, "control"),
            (clients.stdin, kernel.stdin, "stdin"),
        ):
            if channel != "shell":
                self._handle(client, self._to, client, inner)
            self._handle(inner, self._from, inner, client, channel)
        self._handle(kernel.iopub, self._from, kernel.iopub, clients.iopub, "iopub")
        for channel, monitor in kernel.monitors.items():
            self._handle(monitor, self._look_at, channel)
        for frames in clients.take_early():
            self._pass_on(frames, clients.control, kernel.control)
        self._handle(clients.heartbeat, beat, clients.heartbeat, kernel.heartbeat)
        self._handle(kernel.heartbeat, beat, kernel.heartbeat, clients.heartbeat)

    def _open_shell(self) -> None:
        """A client listens, or has had the time to."""
        assert self._kernel is not None
        shell = self._kernel.shell
        self._handle(self._clients.shell, self._to, self._clients.shell, shell)
        while self._held:
            self._pass_on(self._held.pop(0), self._clients.shell, shell)

    def _handle(self, socket: Socket, handler: Callable[..., object], *arguments: Any) -> None:
        self._handlers[socket] = functools.partial(handler, *arguments)
        self._poller.register(socket, zmq.POLLIN)

    def _leave_kernel(self) -> None:
        self._say_space("")
        kernel, self._kernel = self._kernel, None
        self._work.forget()
        if kernel is None:
            return
        clients = self._clients
        if self._connected:
            # What clients ask now waits for the next kernel.
            for socket in (clients.shell, clients.control, clients.stdin, clients.heartbeat):
                if socket in self._handlers:
                    self._forget(socket)
            for socket in (*kernel.all, *kernel.monitors.values()):
                self._forget(socket)
        self._connected = False
        self._libraries.forget()
        kernel.close()

    def _forget(self, socket: Socket) -> None:
        del self._handlers[socket]
        self._poller.unregister(socket)

    # -------- from clients

    def _to(self, client: Socket, kernel: Socket) -> None:
        for frames in received(client):
            self._pass_on(frames, client, kernel)

    def _pass_on(self, frames: list[bytes], client: Socket, kernel: Socket) -> None:
        split = own_parts(frames, self._to_client)
        if split is None:
            return
        identities, parts = split
        if client is self._clients.shell:
            self._work.asked(identities, header_of(parts))
        if b"execute_request" in parts[0]:
            self._asked(identities, parts)
        offer(kernel, signed_anew(frames, self._to_kernel))

    def _asked(self, identities: Sequence[bytes], parts: Sequence[bytes]) -> None:
        self._allowance.renew()
        self._met_limits.begin_cell()
        if self._cell.begin(identities, parts):
            self._harmless.begin_cell()
            for note in self._notes.begin_cell():
                self._publish(self._cell.text(note))

    def _subscriptions(self) -> None:
        """Answer each as a kernel does (JEP 65), so that clients know that they hear all."""
        for frames in received(self._clients.iopub):
            if frames[0][:1] == b"\x01":
                self._is_heard = True
                self._publish(self._cell.welcome(frames[0][1:]))

    # -------- from the kernel

    def _from(self, kernel: Socket, client: Socket, channel: str) -> bool:
        """Pass on what has come; whether something had."""
        frames = None
        for frames in received(kernel):
            message = read(frames)
            if message is None:
                continue
            if self._libraries.is_about(message):
                for shown, drawn in self._libraries.frames(message, self._to_client):
                    if self._affordable(shown, drawn):
                        self._clients.iopub.send_multipart(drawn, copy=False)
                continue
            if not self._affordable(message, frames):
                continue
            passed = self._passed(channel, message, frames)
            if passed is not None and not self._affordable(message, passed, paid_for=frames):
                self._harmless.take_back()
                passed = None
            for note in self._notes.again(message) if self._cell.is_of(message) else ():
                self._publish(self._cell.text(note))
            if passed is not None:
                client.send_multipart(passed, copy=False)
            if channel == "shell" or message.kind != "execute_reply":
                self._cell.hear(message)
                self._work.hear(message)
            for hint in (*self._harmless.hints(), *self._met_limits.hints(message)):
                self._publish(self._cell.text(hint))
            if channel == "iopub" and self._met_limits.asks(message):
                self._ask_for_space()
                break
            if select.select([self._commands], [], [], 0)[0]:
                break  # an end, or another kernel, does not wait for what may take long
        self._ask_for_library()
        return frames is not None

    def _ask_for_library(self) -> None:
        """Once the cell with the figure has ended: a kernel answers one after another."""
        if self._kernel is None or self._cell.running:
            return
        request = self._libraries.request()
        if request is not None and (frames := request.frames(self._to_kernel)) is not None:
            offer(self._kernel.shell, frames)

    def _ask_for_space(self) -> None:
        """Have the launcher say what is full, and hear no more of the cell before."""
        assert self._kernel is not None
        self._poller.unregister(self._kernel.iopub)
        self._tell(NO_SPACE)

    def _say_space(self, text: str) -> None:
        """The answer, which is empty when none came in time."""
        cell, self._met_limits.cell = self._met_limits.cell, None
        if cell is None or self._kernel is None:
            return
        self._poller.register(self._kernel.iopub, zmq.POLLIN)
        if text:
            self._publish(replace(self._cell.text(text), parent=dict(cell)))

    def _affordable(
        self, message: Message, frames: Sequence[bytes], paid_for: Sequence[bytes] = ()
    ) -> bool:
        exceeded = self._allowance.exceeded
        size = sum(map(len, frames)) - sum(map(len, paid_for))
        affords = self._allowance.affords(message, size)
        if self._allowance.exceeded and not exceeded:
            self._note(TOO_MUCH)
        return affords

    def _passed(
        self, channel: str, message: Message, frames: list[bytes]
    ) -> Sequence[bytes] | None:
        if self._trusted:
            return signed_anew(frames, self._to_client)
        return self._harmless.frames(channel, message, self._to_client)

    def _look_at(self, channel: str) -> None:
        """What became of a channel's connection."""
        if (kernel := self._kernel) is not None and kernel.broke(channel):
            self._cell.broke(channel)
            kernel.connect_again(channel, lambda socket: self._handlers[socket]())

    def _make_up(self) -> None:
        iopub, shell = self._cell.make_up()
        for message in iopub:
            self._publish(message)
        for message in shell:
            self._send(self._clients.shell, message)

    # -------- a sandbox that has ended until it is wanted

    def _fall_asleep(self, why: str) -> None:
        if not self._cell.running:
            self._note(f"{why}; the next cell starts another", now=True)
        self._cell.end()
        self._answer(why, *self._work.forget())
        self._leave_kernel()
        self._note(f"this is a new sandbox, with nothing of the one before: {why}")
        self._handle(self._clients.shell, self._hold)

    def _hold(self) -> None:
        """Keep what clients ask until another kernel is there, and say that one is wanted."""
        for frames in received(self._clients.shell):
            if own_parts(frames, self._to_client) is not None:
                self._held.append(frames)
                self._work.wanted()

    def _refuse_held(self, why: str) -> None:
        held, self._held = self._held, []
        for frames in held:
            split = own_parts(frames, self._to_client)
            if split is not None and b"execute_request" in split[1][0]:
                self._answer(why, (split[0], header_of(split[1])))

    def _answer(self, why: str, *unanswered: Asked) -> None:
        for number, asked in enumerate(unanswered):
            shown, reply = self._cell.unanswered(asked, why, first=number == 0)
            for message in shown:
                self._publish(message)
            self._send(self._clients.shell, reply)

    # -------- what we say ourselves

    def _drain(self) -> None:
        """What a kernel sent before it died."""
        if self._kernel is not None and self._connected:
            clients, kernel = self._clients, self._kernel
            until = time.monotonic() + DRAIN_SECONDS
            while self._from(kernel.iopub, clients.iopub, "iopub"):
                if time.monotonic() > until:
                    break
            self._from(kernel.shell, clients.shell, "shell")

    def _note(self, text: str, *, now: bool = False, weight: int = ORDINARY) -> None:
        """Show ``text`` in the cell that runs, else in the next one; with ``now`` where the last
        one has ended, if there was one."""
        if self._cell.running:
            self._notes.told(text, weight)
        if self._cell.running or (now and self._cell.has_been):
            self._publish(self._cell.text(text))
        else:
            self._notes.keep(text, weight)

    def _tell_end(self, why: str) -> None:
        """A client says no more than that a kernel has died; by its silence it knows that."""
        if why and self._cell.running:
            self._publish(self._cell.death(why, self._work.running))
        elif why:
            self._note(f"the kernel before this one ended: {why}")
        self._cell.end()

    def _publish(self, message: Message) -> None:
        self._send(self._clients.iopub, message)

    def _send(self, client: Socket, message: Message) -> None:
        frames = message.frames(self._to_client)
        assert frames is not None  # it is our own
        client.send_multipart(frames)
