"""A relay's process with a client, and with a kernel of the tests' own that says what it likes."""

from __future__ import annotations

import os
import queue
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import zmq
from jupyter_client.session import Session

from moat_nb.jupyter.relay.process import RelayProcess
from moat_nb.sandbox.connection import json_ready, new_connection

MILLISECONDS = 20_000

CLIENT = {"shell": zmq.DEALER, "control": zmq.DEALER, "stdin": zmq.DEALER, "iopub": zmq.SUB}
KERNEL = {"shell": zmq.ROUTER, "control": zmq.ROUTER, "stdin": zmq.ROUTER, "iopub": zmq.XPUB}
NUMBERS = {"shell": 1, "iopub": 2, "stdin": 3, "control": 4, "hb": 5}


@dataclass
class Side:
    """One end's sockets, and the session that signs and reads its messages."""

    session: Session
    sockets: dict[str, zmq.Socket[bytes]] = field(default_factory=dict)

    def send(self, channel: str, kind: str, content: dict[str, Any], **options: Any) -> Any:
        return self.session.send(self.sockets[channel], kind, content, **options)

    def next(self, channel: str) -> tuple[list[bytes], dict[str, Any]]:
        """Its identities, and the message."""
        socket = self.sockets[channel]
        assert socket.poll(MILLISECONDS), f"nothing came on {channel}"
        identities, frames = self.session.feed_identities(socket.recv_multipart())
        return identities, self.session.deserialize(frames)

    def close(self) -> None:
        for socket in self.sockets.values():
            socket.close(linger=0)


@dataclass
class World:
    context: zmq.Context[Any]
    directory: Path
    relay: RelayProcess
    client: Side
    words: queue.Queue[str]
    """What the relay tells its launcher."""
    kernel: Side | None = None
    prefix: str = ""

    def start_kernel(self, name: str = "1") -> Side:
        """A kernel in place of the one before, known to the relay; returns when the two talk."""
        if self.kernel is not None:
            self.kernel.close()
        connection = json_ready(new_connection(str(self.directory / name)))
        self.kernel = Side(Session(key=connection["key"].encode()))
        for channel, kind in {**KERNEL, "hb": zmq.ROUTER}.items():
            self.kernel.sockets[channel] = socket = self.context.socket(kind)
            socket.bind(f"ipc://{connection['ip']}-{NUMBERS[channel]}")
        self.prefix = connection["ip"]
        self.relay.connect(connection)
        assert self.kernel.sockets["iopub"].poll(MILLISECONDS)
        assert self.kernel.sockets["iopub"].recv() == b"\x01"
        return self.kernel

    def end_kernel(self, why: str) -> None:
        self.relay.ended(self.prefix, why)

    def kill_relay(self) -> None:
        """Returns when another has taken its place."""
        assert self.kernel is not None
        os.kill(self.relay.pid, signal.SIGKILL)
        while self.kernel.sockets["iopub"].recv() != b"\x01":  # it goes, and comes again
            pass
        assert self.client.next("iopub")[1]["msg_type"] == "iopub_welcome"

    def asked(self, code: str = "1") -> tuple[list[bytes], dict[str, Any]]:
        """A request of the client's as it reaches the kernel."""
        assert self.kernel is not None
        self.client.send("shell", "execute_request", {"code": code, "silent": False})
        return self.kernel.next("shell")

    def shown(self, kind: str, content: dict[str, Any], **options: Any) -> dict[str, Any]:
        """A message of the kernel's on iopub as it reaches the client."""
        assert self.kernel is not None
        self.kernel.send("iopub", kind, content, **options)
        return self.client.next("iopub")[1]


@pytest.fixture
def world() -> Iterator[World]:
    context: zmq.Context[Any] = zmq.Context()
    with tempfile.TemporaryDirectory(prefix="moat-relay-") as name:
        relay = RelayProcess(Path(name) / "base")
        connection = json_ready(new_connection(relay.prefix))
        client = Side(Session(key=connection["key"].encode()))
        words: queue.Queue[str] = queue.Queue()
        relay.on_word = words.put
        made = World(context, Path(name), relay, client, words)
        try:
            relay.open(connection)
            for channel, kind in CLIENT.items():
                client.sockets[channel] = socket = context.socket(kind)
                if kind == zmq.DEALER:  # as clients do: where they ask they are asked
                    socket.routing_id = client.session.bsession
                socket.connect(f"ipc://{relay.prefix}-{NUMBERS[channel]}")
            client.sockets["iopub"].subscribe(b"")
            assert client.next("iopub")[1]["msg_type"] == "iopub_welcome"
            yield made
        finally:
            relay.close()
            client.close()
            if made.kernel is not None:
                made.kernel.close()
            context.destroy(linger=0)
        assert list((Path(name) / "base").iterdir()) == []
