"""The process of a sandbox's ports, for real: between a port of this machine and a unix socket."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.host.ports.options import Door, Listening, PortsOptions
from moat_nb.host.ports.process import PortsProcess
from moat_nb.host.ports.server import serve
from tests.unit.host.ports.doors import DOOR

SECONDS = 60
ASK = b"GET / HTTP/1.1\r\nHost: web.p-0123abcd.localhost\r\n\r\n"
PIECE = b"moat" * (1 << 16)

Serve = Callable[[socket.socket], None]


def everything(connection: socket.socket) -> bytes:
    found = b""
    while data := connection.recv(1 << 16):
        found += data
    return found


def say_here(connection: socket.socket) -> None:
    connection.recv(len(ASK), socket.MSG_WAITALL)
    connection.sendall(b"HTTP/1.1 200 here\r\n\r\n")


class Opened:
    """A door, its process, and a thread in place of the guest."""

    def __init__(self, directory: Path, serve: Serve) -> None:
        self.path = directory / "p3000"
        self.guest = socket.socket(socket.AF_UNIX)
        self.guest.bind(str(self.path))
        self.guest.listen()
        listener = socket.create_server(("127.0.0.1", 0))
        self.door: Door = replace(DOOR, port=listener.getsockname()[1])
        self._serve = serve
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()
        pinned = os.open(self.path, os.O_PATH | os.O_NOFOLLOW)
        self.process = PortsProcess([(self.door, listener, pinned)])

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.guest.accept()
                with connection, suppress(OSError):
                    self._serve(connection)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.door.port), timeout=SECONDS)

    def ask(self, request: bytes = ASK) -> bytes:
        with self.connect() as connection:
            connection.sendall(request)
            return everything(connection)

    def close(self) -> None:
        self.process.close()
        with suppress(OSError):
            self.guest.shutdown(socket.SHUT_RDWR)
        self.guest.close()
        self.thread.join(SECONDS)


@pytest.fixture
def opened() -> Iterator[Callable[[Serve], Opened]]:
    with ExitStack() as undo:

        def made(serve: Serve) -> Opened:
            directory = tempfile.mkdtemp(prefix="moat-nb-ports-", dir="/var/tmp")
            undo.callback(shutil.rmtree, directory)
            one = Opened(Path(directory), serve)
            undo.callback(one.close)
            return one

        yield made


def test_the_first_request_and_all_that_follows_is_carried(opened) -> None:
    def echo_once(connection: socket.socket) -> None:
        head = connection.recv(len(ASK), socket.MSG_WAITALL)
        connection.sendall(b"HTTP/1.1 101 heard %d\r\n\r\n" % len(head))
        connection.sendall(everything(connection))

    with opened(echo_once).connect() as connection:
        connection.sendall(ASK[:20])
        connection.sendall(ASK[20:] + b"\x00not HTTP")
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection) == b"HTTP/1.1 101 heard %d\r\n\r\n\x00not HTTP" % len(ASK)


def test_much_is_carried_whole_to_a_client_that_is_slow(opened) -> None:
    def pour(connection: socket.socket) -> None:
        connection.recv(len(ASK), socket.MSG_WAITALL)
        for _ in range(64):
            connection.sendall(PIECE)

    assert opened(pour).ask() == PIECE * 64


@pytest.mark.parametrize("heard", [0, 10, len(ASK)])
def test_a_sandbox_that_ends_a_connection_without_a_word_is_told_of(opened, heard: int) -> None:
    """Whatever it read before: the guest reads nothing where no server listens inside."""

    def listen(connection: socket.socket) -> None:
        if heard:
            connection.recv(heard, socket.MSG_WAITALL)

    said = opened(listen).ask(ASK.replace(b"GET", b"POST") + b"x" * 1000)
    assert said.startswith(b"HTTP/1.1 502 ")
    assert b"nothing answers at port 3000" in said


def test_nothing_of_who_is_not_let_in_reaches_the_sandbox(opened) -> None:
    arrived = []
    one = opened(arrived.append)
    refused = {
        b"Host: 127.0.0.1\r\nCookie: a=b": b"HTTP/1.1 307 ",
        b"Host: evil.example": b"HTTP/1.1 421 ",
        b"No-Host: 1": b"HTTP/1.1 400 ",
        b"Host: x\r\nA: " + b"x" * (80 << 10): b"HTTP/1.1 400 ",
    }
    for fields, answer in refused.items():
        assert one.ask(b"GET / HTTP/1.1\r\n" + fields + b"\r\n\r\n").startswith(answer)
    with one.connect() as connection:
        connection.sendall(b"GET / HT")
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection).startswith(b"HTTP/1.1 400 ")
    assert arrived == []


def test_more_connections_than_it_carries_are_turned_away_until_others_end(opened) -> None:
    one = opened(say_here)
    with ExitStack() as stack:
        # Each is counted once it is accepted, in the order in which they came.
        held = [stack.enter_context(one.connect()) for _ in range(128)]
        assert one.ask(b"").startswith(b"HTTP/1.1 503 ")
        for connection in held:
            connection.sendall(ASK)
            assert everything(connection).startswith(b"HTTP/1.1 200 here")
    said = b""
    while not said.startswith(b"HTTP/1.1 200 here"):  # it hears of their ends one by one
        with suppress(ConnectionResetError):
            said = one.ask()


def test_a_head_that_does_not_come_is_not_waited_for() -> None:
    async def answered() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
            listening = Listening(door=DOOR, listen_fd=os.dup(listener.fileno()), socket_fd=0)
        server = asyncio.create_task(serve(PortsOptions(listening=(listening,), head_seconds=0.1)))
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HT")
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)
        return said

    assert asyncio.run(answered()).startswith(b"HTTP/1.1 400 ")


def test_what_comes_to_lie_at_the_sockets_path_is_never_connected_to(opened) -> None:
    one = opened(say_here)
    one.path.unlink()
    with socket.socket(socket.AF_UNIX) as another:
        another.bind(str(one.path) + "x")
        another.listen()
        another.settimeout(0.2)
        one.path.symlink_to(one.path.with_name("p3000x"))
        assert one.ask().startswith(b"HTTP/1.1 200 here")
        with pytest.raises(TimeoutError):
            another.accept()


def test_it_begins_with_the_first_connection_and_ends_with_its_launcher(opened) -> None:
    one = opened(say_here)
    assert one.process.pid is None
    assert one.ask().startswith(b"HTTP/1.1 200 here")
    assert Path(f"/proc/{one.process.pid}/environ").read_bytes() in (b"", b"LC_CTYPE=C.UTF-8\0")
    process = Path(f"/proc/{one.process.pid}")
    one.process.close()
    assert not process.exists()
    with pytest.raises(ConnectionRefusedError):
        one.connect()


def test_it_is_started_again_when_it_has_died(opened) -> None:
    one = opened(say_here)
    assert one.ask().startswith(b"HTTP/1.1 200 here")
    before = one.process.pid
    os.kill(before, 9)
    while one.process.pid == before:
        time.sleep(0.01)
    assert one.ask().startswith(b"HTTP/1.1 200 here")
    assert one.process.pid != before
