"""The forwarder, for real: what connects to a port of the guest's ends up at a unix socket."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moat_nb.guest.settings import PortForward
from tests.unit.guest.running import Guest

pytestmark = pytest.mark.machine  # a guest is the first process of a namespace

GIGABYTE = 1 << 30
PIECE = b"moat" * (1 << 16)

Serve = Callable[[socket.socket], None]


class Launcher:
    """What stands at the unix socket: ``serve`` gets each connection, in a thread of its own."""

    def __init__(self, path: Path, serve: Serve) -> None:
        self.path = path
        self.arrived = 0
        self._serve = serve
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1024)
        self._threads: list[threading.Thread] = []
        self._accepter = threading.Thread(target=self._accept)
        self._accepter.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.arrived += 1
                thread = threading.Thread(target=self._one, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._serve(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._accepter, *self._threads):
            thread.join(timeout=300)
            assert not thread.is_alive()


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="moat-nb-forward-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def launcher(directory: Path) -> Iterator[Callable[[Serve], Launcher]]:
    made = []

    def make(serve: Serve) -> Launcher:
        made.append(Launcher(directory / str(len(made)), serve))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def guest(directory: Path) -> Iterator[Callable[..., Guest]]:
    """``guest(launcher, target)``: one with a forwarded port, which is returned."""
    made = []

    def start(launcher: Launcher, target: str = "", **options: str) -> int:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        forward = PortForward(port, str(launcher.path), target)
        one = Guest(directory, port_forwards=[forward], **options)
        made.append(one)
        one.hear("ready")
        start.guest = one  # type: ignore[attr-defined]
        return port

    yield start
    for one in made:
        one.discard()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=300)


def everything(connection: socket.socket) -> bytes:
    found = b""
    while data := connection.recv(1 << 16):
        found += data
    return found


def echo(connection: socket.socket) -> None:
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def answer_at_the_end(connection: socket.socket) -> None:
    connection.sendall(b"heard " + everything(connection))


def forwarders(guest: Guest) -> list[int]:
    """The children of the guest, which is the one child of unshare."""
    (inner,) = children(guest.process.pid)
    return children(inner)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# ---------------------------------------------------------------- the bytes


def test_each_side_hears_what_the_other_says_and_that_it_has_ended(launcher, guest):
    port = guest(launcher(answer_at_the_end))
    with connect(port) as connection:
        connection.sendall(b"a question")
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection) == b"heard a question"


def test_the_launcher_may_be_the_first_to_end(launcher, guest):
    heard = []

    def say_and_listen(connection: socket.socket) -> None:
        connection.sendall(b"good bye")
        connection.shutdown(socket.SHUT_WR)
        heard.append(everything(connection))

    one = launcher(say_and_listen)
    with connect(guest(one)) as connection:
        assert everything(connection) == b"good bye"
        connection.sendall(b"one more word")
    one.close()
    one.close = lambda: None
    assert heard == [b"one more word"]


def test_a_gigabyte_arrives_whole_at_a_program_that_is_slow_at_first(launcher, guest):
    def pour(connection: socket.socket) -> None:
        for _ in range(GIGABYTE // len(PIECE)):
            connection.sendall(PIECE)

    with connect(guest(launcher(pour))) as connection:
        time.sleep(0.2)  # all buffers on the way are full then
        count, view = 0, memoryview(bytearray(1 << 20))
        while size := connection.recv_into(view):
            assert view[:4] == (PIECE * 2)[count % 4 : count % 4 + 4]
            count += size
    assert count == GIGABYTE


def test_five_hundred_connections_are_carried_at_once(launcher, guest):
    port = guest(launcher(echo))
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(port)) for _ in range(500)]
        for number, connection in enumerate(connections):
            connection.sendall(b"%05d" % number)
        for number, connection in enumerate(connections):
            assert connection.recv(5, socket.MSG_WAITALL) == b"%05d" % number


def test_more_connections_than_it_has_descriptors_for_wait_for_others_to_end(launcher, guest):
    port = guest(launcher(echo), setup="ulimit -n 84")
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(port)) for _ in range(30)]
        for connection in connections:
            connection.sendall(b"x")
            connection.shutdown(socket.SHUT_WR)
        for connection in connections:
            assert everything(connection) == b"x"


def test_a_connection_that_its_program_broke_is_broken_for_the_launcher_too(launcher, guest):
    ended = threading.Event()

    def say_on_and_on(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(PIECE)
        except OSError:
            ended.set()

    port = guest(launcher(say_on_and_on))
    connect(port).close()
    assert ended.wait(60)


def test_a_forwarder_with_nothing_to_carry_rests(launcher, guest):
    port = guest(launcher(lambda connection: connection.sendall(b"bye")))
    with connect(port) as connection:
        assert everything(connection) == b"bye"
        (forwarder,) = forwarders(guest.guest)
        before = ticks(forwarder)
        time.sleep(0.5)  # of 50 ticks
        assert ticks(forwarder) - before < 10


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# ---------------------------------------------------------------- its life


def test_it_begins_with_the_first_connection_and_again_when_it_was_killed(launcher, guest):
    port = guest(launcher(echo))
    assert forwarders(guest.guest) == []
    for _ in range(3):
        with connect(port) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            (forwarder,) = forwarders(guest.guest)
            os.kill(forwarder, signal.SIGKILL)
            assert connection.recv(1) == b""


def test_a_connection_that_nobody_takes_is_ended(launcher, guest, directory):
    one = launcher(echo)
    port = guest(one)
    one.path.unlink()
    with connect(port) as connection:
        assert connection.recv(1) == b""


def test_a_guest_that_cannot_have_its_port_does_not_start(directory):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = Guest(directory, port_forwards=[PortForward(port, "/no/such", "")])
        assert one.process.wait(timeout=300) == 1
        assert one.stderr.read_text() == f"port {port} of the sandbox: Address already in use\n"
        one.discard()


# ---------------------------------------------------------------- a port of the host's


def answer(head: bytes) -> Serve:
    def serve(connection: socket.socket) -> None:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += connection.recv(1)
        assert asked == b"CONNECT host.moat:5432 HTTP/1.1\r\nHost: host.moat:5432\r\n\r\n"
        for byte in head:
            connection.sendall(bytes([byte]))
        echo(connection)

    return serve


def test_a_port_of_the_hosts_is_asked_for_and_the_program_sees_nothing_of_that(launcher, guest):
    port = guest(launcher(answer(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nfirst ")), "host.moat:5432")
    with connect(port) as connection:
        connection.sendall(b"words")
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection) == b"first words"


@pytest.mark.parametrize("head", [b"HTTP/1.1 403 no\r\n\r\n200", b"", b"x" * (20 << 10)])
def test_a_port_that_is_refused_is_a_connection_that_ends(launcher, guest, head):
    port = guest(launcher(answer(head)), "host.moat:5432")
    with connect(port) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection) == b""


# ---------------------------------------------------------------- the way in


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_connection_to_the_socket_is_carried_to_the_port(directory, address):
    """Wherever on the sandbox's loopback its server listens."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server((address, 0), family=family))
        port = server.getsockname()[1]
        one = Guest(directory, ports=[port])
        stack.callback(one.discard)
        one.hear("ready")
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(300)
                connection.connect(str(directory / f"p{port}"))
                connection.sendall(b"a question")
                connection.shutdown(socket.SHUT_WR)
                carried = server.accept()[0]
                with carried:
                    carried.sendall(b"heard " + everything(carried))
                assert everything(connection) == b"heard a question"


def test_a_connection_to_a_port_that_nobody_listens_at_is_ended(directory):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    one = Guest(directory, ports=[port])
    try:
        one.hear("ready")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(300)
            connection.connect(str(directory / f"p{port}"))
            assert connection.recv(1) == b""
    finally:
        one.discard()
