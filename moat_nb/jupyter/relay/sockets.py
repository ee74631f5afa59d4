"""The relay's ZeroMQ sockets: those that clients connect to, and those that lead to the kernel."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zmq

from moat_nb.sandbox.connection import PORTS

__all__ = ["MESSAGE_LIMIT", "ClientSockets", "KernelSockets"]

MESSAGE_LIMIT = 128 << 20
"""Bytes of a kernel's message. ZeroMQ ends the connection over which a longer one comes."""

WAITING = 10_000
"""How many messages may wait for one client; what comes then is not sent to it."""

HEARTBEAT_LIMIT = 1 << 10


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


class KernelSockets:
    """Connected to one kernel's sockets as they come to be there; closed with it.

    They lie in a directory of the sandbox's, so no link is followed there: each is opened as what
    it is, and connected to through the descriptor.
    """

    def __init__(self, context: zmq.Context[Any], prefix: str) -> None:
        self._context = context
        # The kernel asks for input at the identity from which it was asked to execute.
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
        self.breaks = {
            "shell": self.shell.get_monitor_socket(zmq.EVENT_DISCONNECTED),
            "iopub": self.iopub.get_monitor_socket(zmq.EVENT_DISCONNECTED),
        }
        """Sockets on which a message comes when a connection breaks."""

    @property
    def all(self) -> tuple[zmq.Socket[bytes], ...]:
        return self.shell, self.control, self.stdin, self.heartbeat, self.iopub

    def _made(self, kind: int, limit: int = MESSAGE_LIMIT) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.linger = 0
        socket.maxmsgsize = limit
        socket.sndhwm = 0  # a client's own requests, which wait for a kernel that is busy
        if kind == zmq.DEALER:
            socket.routing_id = self._identity
        return socket

    def connect(self) -> bool:
        """Connect to those that are there now; whether all are connected."""
        for path, socket in list(self._missing.items()):
            address = self._address(path)
            if address is not None:
                socket.connect(f"ipc://{address}")
                del self._missing[path]
        return not self._missing

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
        self.shell.disable_monitor()
        self.iopub.disable_monitor()
        for socket in self.all:
            socket.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
