"""The relay's ZeroMQ sockets: those that clients connect to, and those that lead to the kernel."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from moat_nb.sandbox.connection import PORTS

__all__ = [
    "BREAK_MILLISECONDS",
    "CONNECT_MILLISECONDS",
    "DRAIN_SECONDS",
    "HEARD_SECONDS",
    "LAST_MILLISECONDS",
    "MESSAGE_LIMIT",
    "ClientSockets",
    "KernelSockets",
    "Socket",
    "beat",
    "offer",
    "received",
]

Socket = zmq.Socket[bytes]

MESSAGE_LIMIT = 64 << 20
"""Bytes of a part of a message. ZeroMQ breaks a connection over which a longer one comes."""

UNREAD = 16
"""How many messages of a kernel's wait on our side; further ones wait in the sandbox."""

WAITING = 10_000
"""How many messages may wait for one client; what comes then is not sent to it."""

HEARTBEAT_LIMIT = 1 << 10

CONNECT_MILLISECONDS = 2
"""Between two looks for a kernel's sockets."""

HEARD_SECONDS = 1.0
"""For a client to listen to the output; what it asks on shell before would be answered to nobody. A
client connects its sockets one after another, and all anew when this relay took another's place."""

BREAK_MILLISECONDS = 200
"""Between two looks at whether what was lost is to be made up for."""

LAST_MILLISECONDS = 500
"""At the end, for what is on its way to clients."""

BATCH, BATCH_SECONDS = 64, 0.1
"""How many messages of one socket are handled before the others have their turn, and for how
long."""


DRAIN_SECONDS = 1.0
"""For what a kernel sent before it died: what it left behind may send on and on."""


class ClientSockets:
    """Bound where clients connect, for as long as the relay lives."""

    def __init__(self, context: zmq.Context[Any], client: Mapping[str, Any]) -> None:
        self._context = context
        self._client = client
        self.shell = self._bind(zmq.ROUTER, "shell_port")
        self.control = self._bind(zmq.ROUTER, "control_port")
        self.stdin = self._bind(zmq.ROUTER, "stdin_port")
        self.heartbeat = self._bind(zmq.ROUTER, "hb_port")
        self.iopub = self._bind(zmq.XPUB, "iopub_port")
        self._early: list[list[bytes]] = []

    def _bind(self, kind: int, port: str) -> zmq.Socket[bytes]:
        client = self._client
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = WAITING
        if kind == zmq.ROUTER:
            # A client that connects again, with the identity that it had, is the same.
            socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        else:
            # Each client's subscription, also a second to the same: it is answered.
            socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        if client.get("curve_secretkey"):
            socket.curve_server = True
            socket.curve_secretkey = client["curve_secretkey"].encode()
            socket.curve_publickey = client["curve_publickey"].encode()
        separator = "-" if client["transport"] == "ipc" else ":"
        socket.bind(f"{client['transport']}://{client['ip']}{separator}{client[port]}")
        return socket

    def keep_early(self) -> None:
        """What was asked on control before a kernel was ordered, for that one; but no end, which
        was asked of the one before and is not for its successor."""
        asked = received(self.control)
        self._early += [frames for frames in asked if not any(map(_asks_for_end, frames))]

    def take_early(self) -> list[list[bytes]]:
        early, self._early = self._early, []
        return early


class KernelSockets:
    """Connected to one kernel's sockets as they come to be there; closed with it.

    They lie in a directory of the sandbox's, so no link is followed there: each is opened as what
    it is, and connected to through the descriptor.
    """

    def __init__(self, context: zmq.Context[Any], prefix: str) -> None:
        self._context = context
        # One for shell and stdin: a kernel asks for input where it was asked to execute.
        self._identity = secrets.token_bytes(8)
        self.shell = self._made(zmq.DEALER)
        self.control = self._made(zmq.DEALER)
        self.stdin = self._made(zmq.DEALER)
        self.heartbeat = self._made(zmq.DEALER, HEARTBEAT_LIMIT)
        self.iopub = self._made(zmq.SUB)
        self.iopub.subscribe(b"")
        sockets = {
            "shell_port": self.shell,
            "iopub_port": self.iopub,
            "stdin_port": self.stdin,
            "control_port": self.control,
            "hb_port": self.heartbeat,
        }
        self._missing = {
            f"{prefix}-{number}": sockets[port] for number, port in enumerate(PORTS, start=1)
        }
        self._descriptors: list[int] = []
        self._channels = {
            "shell": self.shell,
            "control": self.control,
            "stdin": self.stdin,
            "iopub": self.iopub,
        }
        self._addresses: dict[zmq.Socket[bytes], str] = {}
        self.monitors = {
            name: socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
            for name, socket in self._channels.items()
        }
        """By channel, for :meth:`broke`."""
        self._unheard = set(self.monitors)

    @property
    def all(self) -> tuple[zmq.Socket[bytes], ...]:
        return self.shell, self.control, self.stdin, self.heartbeat, self.iopub

    def _made(self, kind: int, limit: int = MESSAGE_LIMIT) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.linger = 0
        socket.maxmsgsize = limit
        socket.rcvhwm = UNREAD
        socket.sndhwm = 0  # a client's own requests, which wait for a kernel that is busy
        if kind == zmq.DEALER:
            socket.routing_id = self._identity
        return socket

    def connect(self) -> bool:
        """Connect to those that are there now; whether the kernel hears all, and is heard."""
        for path, socket in list(self._missing.items()):
            address = self._address(path)
            if address is not None:
                self._addresses[socket] = f"ipc://{address}"
                socket.connect(self._addresses[socket])
                del self._missing[path]
        for channel in tuple(self._unheard):
            if zmq.EVENT_HANDSHAKE_SUCCEEDED in self._events(channel):
                self._unheard.remove(channel)
        return not self._missing and not self._unheard

    def broke(self, channel: str) -> bool:
        """Whether its connection broke since this was asked last."""
        return zmq.EVENT_DISCONNECTED in self._events(channel)

    def _events(self, channel: str) -> list[int]:
        monitor, events = self.monitors[channel], []
        while monitor.poll(0):
            events.append(int(parse_monitor_message(monitor.recv_multipart())["event"]))
        return events

    def connect_again(self, channel: str, hear: Callable[[Socket], object]) -> None:
        """ZeroMQ does not, by itself, after a message that was too long.

        What came before is heard first, else it is lost. Of output, ZeroMQ has read a message's
        first part as it was polled, and aborts when the others have gone (libzmq's issue 2163).
        """
        # The kernel may still have the broken connection, and then hears no other of its name.
        identity = secrets.token_bytes(8)
        for name in ("shell", "stdin") if channel in ("shell", "stdin") else (channel,):
            socket = self._channels[name]
            # No more than there was: a kernel that is there again may say more and more.
            for _ in range(2 * UNREAD):
                if not hear(socket):
                    break
            with contextlib.suppress(zmq.ZMQError):  # it has given the address up
                socket.disconnect(self._addresses[socket])
            if name != "iopub":
                socket.routing_id = identity
            socket.connect(self._addresses[socket])

    def _address(self, path: str) -> str | None:
        """By which the socket at ``path`` is reached, whatever comes to lie there later."""
        if not hasattr(os, "O_PATH"):  # macOS, where a sandbox is another machine's
            return path if Path(path).exists() else None
        try:
            descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        self._descriptors.append(descriptor)
        return f"/proc/self/fd/{descriptor}"

    def close(self) -> None:
        for socket in self._channels.values():
            socket.disable_monitor()
        for socket in self.all:
            socket.close()
        for descriptor in self._descriptors:
            os.close(descriptor)


def received(socket: Socket) -> Any:
    """What has arrived, of many the first: the frames of each message."""
    until = time.monotonic() + BATCH_SECONDS
    with contextlib.suppress(zmq.Again):
        for _ in range(BATCH):
            yield socket.recv_multipart(zmq.NOBLOCK)
            if time.monotonic() > until:
                return


def offer(kernel: Socket, frames: list[bytes]) -> None:
    """Send it; nobody waits for a kernel that broke its connection and is not there again."""
    with contextlib.suppress(zmq.Again):
        kernel.send_multipart(frames, zmq.NOBLOCK)


def beat(here: Socket, there: Socket) -> None:
    for frames in received(here):
        with contextlib.suppress(zmq.ZMQError):
            there.send_multipart(frames, zmq.NOBLOCK)


def _asks_for_end(frame: bytes) -> bool:
    """Whether it is such a request's header."""
    return b'"msg_type"' in frame and b'"shutdown_request"' in frame
