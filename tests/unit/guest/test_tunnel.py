"""Both ends of the tunnel, with real sockets at each and nothing but messages between them."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moat_nb.guest import protocol, tunnel
from moat_nb.guest.messages import Decoder, encode
from moat_nb.guest.tunnel import GUEST, LAUNCHER, WINDOW, Tunnel, listening, of_guest

SECONDS = 60


class Ends:
    """A launcher's end and a guest's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.proxy = directory / "launcher's proxy"
        self.to_guest: deque[bytes] = deque()
        self.to_launcher: deque[bytes] = deque()
        self.sent = 0
        self.opened: list[socket.socket] = []

        def to_guest(kind: str, body: bytes | None = None, **fields: Any) -> None:
            self.to_guest.append(encode(kind, body, **fields))

        def to_launcher(kind: str, body: bytes | None = None, **fields: Any) -> None:
            self.to_launcher.append(encode(kind, body, **fields))

        self.launcher = Tunnel(to_guest, {"proxy": str(self.proxy)}.__getitem__, end=LAUNCHER)
        self.guest = of_guest(to_launcher, str(directory / "proxy"))
        self.decoders = {id(self.launcher): Decoder(1000), id(self.guest): Decoder(1000)}

    def turn(self) -> None:
        """One round of each, and all messages delivered."""
        for end, inbox in ((self.launcher, self.to_launcher), (self.guest, self.to_guest)):
            end.run_once(0)
            while inbox:
                for message in self.decoders[id(end)].feed(inbox.popleft()):
                    self.sent += len(message.get("body", b""))
                    end.hear(message.pop("type"), **message)

    def until(self, true: Callable[[], Any]) -> None:
        give_up = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < give_up
            self.turn()

    def settle(self) -> None:
        for _ in range(20):
            self.turn()

    def received(self, sock: socket.socket, count: int) -> bytes:
        """So many bytes, or fewer at the end."""
        found = b""
        while len(found) < count:
            part = self.chunk(sock)
            if not part:
                break
            found += part
        return found

    def chunk(self, sock: socket.socket) -> bytes:
        sock.setblocking(False)
        give_up = time.monotonic() + SECONDS
        while time.monotonic() < give_up:
            self.turn()
            try:
                return sock.recv(1 << 16)
            except BlockingIOError:
                continue
        raise AssertionError("nothing comes")

    def keep(self, sock: socket.socket) -> socket.socket:
        """It is closed after the test, if the test did not."""
        self.opened.append(sock)
        return sock

    def server(self, path: Path) -> socket.socket:
        made = self.keep(socket.socket(socket.AF_UNIX))
        made.bind(str(path))
        made.listen(16)
        made.settimeout(SECONDS)
        return made

    def accepted(self, server: socket.socket) -> socket.socket:
        return self.keep(server.accept()[0])

    def accepted_soon(self, server: socket.socket) -> socket.socket:
        """Who connects there, once what is under way has arrived."""
        self.until(lambda: select.select([server], [], [], 0)[0])
        return self.accepted(server)

    def dialled(self, path: Path) -> socket.socket:
        client = self.keep(socket.socket(socket.AF_UNIX))
        client.connect(str(path))
        return client

    def close(self) -> None:
        self.launcher.close()
        self.guest.close()
        for sock in self.opened:
            sock.close()

    def connected(self, name: str = "kernel") -> tuple[socket.socket, socket.socket]:
        """Who has connected at the launcher's, and who has accepted at the guest's."""
        inside = self.directory / name
        server = self.server(inside)
        here = self.directory / f"{name} here"
        self.launcher.listen(listening(str(here), 0o600), str(inside))
        client = self.dialled(here)
        self.until(lambda: self.guest.channels)
        self.settle()
        return client, self.accepted(server)


@pytest.fixture
def ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    made = Ends(Path())
    yield made
    made.close()


def test_bytes_come_through_in_both_directions(ends: Ends) -> None:
    client, server = ends.connected()
    data = os.urandom(3 * WINDOW)
    for one, other in ((client, server), (server, client)):
        one.setblocking(False)
        rest, found = memoryview(data), b""
        while len(found) < len(data):
            if rest:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[one.send(rest) :]
            found += ends.chunk(other)
        assert found == data


def test_one_direction_may_end_before_the_other(ends: Ends) -> None:
    client, server = ends.connected()
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert ends.received(server, 100) == b"question"
    server.sendall(b"answer")
    server.close()
    assert ends.received(client, 100) == b"answer"
    ends.settle()
    assert not ends.launcher.channels
    assert not ends.guest.channels


def test_who_closes_at_one_end_is_gone_at_the_other(ends: Ends) -> None:
    client, server = ends.connected()
    server.sendall(b"last words")
    ends.settle()
    server.close()
    assert ends.received(client, 100) == b"last words"
    client.close()
    ends.until(lambda: not ends.launcher.channels and not ends.guest.channels)


def test_one_that_nobody_reads_waits_alone(ends: Ends) -> None:
    client, server = ends.connected()
    other, its_server = ends.connected("other")
    client.setblocking(False)
    taken = 0
    while True:
        try:
            taken += client.send(bytes(1 << 16))
        except BlockingIOError:
            ends.settle()
            try:
                taken += client.send(bytes(1 << 16))
            except BlockingIOError:
                break
    (waiting,) = [each for each in ends.guest.channels.values() if each.pending]
    assert len(waiting.pending) + waiting.taken <= WINDOW
    assert ends.sent <= 2 * WINDOW  # what the server takes without reading it, too
    other.sendall(b"ping")
    assert ends.received(its_server, 4) == b"ping"
    assert ends.received(server, taken) == bytes(taken)


def test_who_comes_too_early_is_connected_once_somebody_listens(ends: Ends) -> None:
    here, inside = ends.directory / "here", ends.directory / "inside"
    ends.launcher.listen(listening(str(here), 0o600), str(inside))
    client = ends.dialled(here)
    client.sendall(b"early")
    ends.settle()
    assert ends.guest.due() < 1
    server = ends.server(inside)
    ends.until(lambda: not ends.guest.connecting)
    assert ends.guest.due() == float("inf")
    assert ends.received(ends.accepted(server), 5) == b"early"


def test_where_nobody_ever_listens_the_connection_is_closed(ends: Ends) -> None:
    ends.guest.patience = 0.1
    here = ends.directory / "here"
    ends.launcher.listen(listening(str(here), 0o600), "nowhere")
    client = ends.dialled(here)
    assert ends.chunk(client) == b""
    assert not ends.launcher.channels
    assert not ends.guest.channels


def test_the_guests_proxy_socket_leads_to_the_launchers(ends: Ends) -> None:
    proxy = ends.server(ends.proxy)
    client = ends.dialled(ends.directory / "proxy")
    client.sendall(b"CONNECT")
    ends.until(lambda: ends.launcher.channels)
    assert ends.received(ends.accepted(proxy), 7) == b"CONNECT"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Channels that each end may open, so that a test needs few descriptors."""
    monkeypatch.setattr(tunnel, "MOST", {LAUNCHER: 4, GUEST: 4})
    return 4


def test_more_than_there_may_be_wait_to_be_accepted(few: int, ends: Ends) -> None:
    server, here = ends.server(ends.directory / "inside"), ends.directory / "here"
    ends.launcher.listen(listening(str(here), 0o600), "inside")
    clients = [ends.dialled(here) for _ in range(few + 3)]
    ends.until(lambda: len(ends.guest.channels) == few)
    ends.settle()
    assert len(ends.launcher.channels) == few
    clients[-1].sendall(b"at last")
    for client in clients[:3]:
        client.close()
        ends.settle()
        ends.accepted(server).close()
    ends.until(lambda: ends.launcher.last_number[LAUNCHER] == 2 * (few + 3))
    ends.settle()
    answered = [ends.accepted(server) for _ in range(few)]
    assert ends.received(answered[-1], 7) == b"at last"


def test_who_waits_at_the_guest_is_accepted_when_all_others_are_gone(few: int, ends: Ends) -> None:
    """The guest waits for its tunnel's descriptor, and does not ask it all the time."""
    proxy = ends.server(ends.proxy)
    clients = [ends.dialled(ends.directory / "proxy") for _ in range(few)]
    ends.until(lambda: len(ends.launcher.channels) == few)
    ends.settle()
    for sock in [*clients, *(ends.accepted(proxy) for _ in range(few))]:
        sock.close()
    ends.until(lambda: not ends.guest.channels and not ends.launcher.channels)
    ends.dialled(ends.directory / "proxy").sendall(b"one more")
    assert ends.received(ends.accepted_soon(proxy), 8) == b"one more"


def test_many_of_the_one_end_keep_none_of_the_other_out(few: int, ends: Ends) -> None:
    ends.server(ends.proxy)
    for _ in range(few):
        ends.dialled(ends.directory / "proxy")
    ends.until(lambda: len(ends.launcher.channels) == few)
    client, server = ends.connected()
    client.sendall(b"a kernel")
    assert ends.received(server, 8) == b"a kernel"


def test_without_a_descriptor_for_it_a_connection_waits(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "REST_SECONDS", 0.2)
    server, here = ends.server(ends.directory / "inside"), ends.directory / "here"
    ends.launcher.listen(listening(str(here), 0o600), "inside")
    client = ends.dialled(here)
    client.sendall(b"later")
    low, high = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(0)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, high))
    try:
        ends.launcher.run_once(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (low, high))
    assert not ends.launcher.channels
    assert 0 < ends.launcher.due() <= 0.2
    assert ends.received(ends.accepted_soon(server), 5) == b"later"


def test_descriptors_are_left_for_all_else(ends: Ends) -> None:
    server, here = ends.server(ends.directory / "inside"), ends.directory / "here"
    ends.guest.room = 2
    ends.launcher.listen(listening(str(here), 0o600), "inside")
    clients = [ends.dialled(here) for _ in range(3)]
    ends.until(lambda: ends.launcher.last_number[LAUNCHER] == 6)
    ends.settle()
    assert len(ends.guest.channels) == 2
    assert ends.chunk(clients[2]) == b""
    for _ in range(2):
        ends.accepted(server)


def test_an_answer_that_comes_before_all_was_sent_is_not_lost(ends: Ends) -> None:
    client, server = ends.connected()
    server.sendall(b"413")
    server.close()
    client.setblocking(False)
    client.send(bytes(1 << 16))
    assert ends.received(client, 3) == b"413"


def test_a_listener_that_is_closed_takes_nobody(ends: Ends) -> None:
    here = ends.directory / "here"
    listener = listening(str(here), 0o600)
    ends.launcher.listen(listener, "inside")
    ends.launcher.close_listener(listener)
    with pytest.raises(ConnectionRefusedError):
        ends.dialled(here)
    ends.settle()


def test_a_fork_closes_nothing_that_has_another_ones_number(ends: Ends) -> None:
    ends.connected()
    made = ends.launcher
    numbers = [sock.fileno() for sock in (*made.listeners, made.channels[2].sock)]
    made.forget()
    ends.launcher = Tunnel(made.send, made.path_of, end=LAUNCHER)
    del made
    gc.collect()
    for number in numbers:
        os.fstat(number)
        os.close(number)


# -------- a far end that is hostile

WITHOUT_RULES: dict[str, list[dict[str, Any]]] = {
    "a number of ours": [{"kind": protocol.OPEN, "channel": 4, "name": "proxy"}],
    "a number twice": [
        {"kind": protocol.OPEN, "channel": 7, "name": "proxy"},
        {"kind": protocol.OPEN, "channel": 7, "name": "proxy"},
    ],
    "a number that was there": [
        {"kind": protocol.OPEN, "channel": 7, "name": "proxy"},
        {"kind": protocol.RESET, "channel": 7},
        {"kind": protocol.OPEN, "channel": 7, "name": "proxy"},
    ],
    "no number": [{"kind": protocol.OPEN, "channel": "7", "name": "proxy"}],
    "a number that is true": [{"kind": protocol.OPEN, "channel": True, "name": "proxy"}],
    "no name": [{"kind": protocol.OPEN, "channel": 7}],
    "one byte too many": [
        {"kind": protocol.DATA, "channel": 2, "body": bytes(WINDOW)},
        {"kind": protocol.DATA, "channel": 2, "body": b"x"},
    ],
    "no bytes": [{"kind": protocol.DATA, "channel": 2, "body": b""}],
    "bytes behind the end": [
        {"kind": protocol.EOF, "channel": 2},
        {"kind": protocol.DATA, "channel": 2, "body": b"x"},
    ],
    "room that was never taken": [{"kind": protocol.WINDOW, "channel": 2, "count": 1}],
    "no count": [{"kind": protocol.WINDOW, "channel": 2, "count": 0}],
    "a negative count": [{"kind": protocol.WINDOW, "channel": 2, "count": -1}],
    "a count that is none": [{"kind": protocol.WINDOW, "channel": 2, "count": 1.0}],
    "a field too many": [{"kind": protocol.EOF, "channel": 2, "more": 1}],
}


@pytest.mark.parametrize("messages", WITHOUT_RULES.values(), ids=WITHOUT_RULES)
def test_what_breaks_the_rules_is_an_error(ends: Ends, messages: list[dict[str, Any]]) -> None:
    client, _ = ends.connected()
    client.setblocking(False)
    assert list(ends.launcher.channels) == [2]
    # What was carried stays in this end, as nobody reads it there.
    ends.launcher.channels[2].sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    *allowed, last = messages
    for message in allowed:
        ends.launcher.hear(**message)
    with pytest.raises((ValueError, TypeError)):
        for _ in range(2 if last.get("body") == b"x" else 1):
            ends.launcher.hear(**last)


def test_a_name_that_leads_nowhere_is_told_and_no_more(ends: Ends) -> None:
    ends.launcher.path_of = _refuse
    ends.launcher.hear(protocol.OPEN, 7, name="/var/run/docker.sock")
    assert list(ends.to_guest) == [encode(protocol.RESET, channel=7)]
    assert not ends.launcher.channels


def _refuse(name: str) -> str:
    raise PermissionError(name)


def test_too_many_of_the_far_ends_are_told_so(few: int, ends: Ends) -> None:
    ends.server(ends.proxy)
    for number in range(few + 2):
        ends.launcher.hear(protocol.OPEN, 2 * number + 1, name="proxy")
    assert len(ends.launcher.channels) == few
    assert len(ends.to_guest) == 2


def test_an_end_that_waits_for_nobody_says_at_once_that_nobody_is_there(ends: Ends) -> None:
    ends.launcher.patience = 0
    ends.launcher.hear(protocol.OPEN, 7, name="proxy")
    assert list(ends.to_guest) == [encode(protocol.RESET, channel=7)]
    assert not ends.launcher.channels


def test_what_is_said_of_one_that_has_ended_here_is_nothing(ends: Ends) -> None:
    for message in (
        {"kind": protocol.DATA, "channel": 2, "body": b"x"},
        {"kind": protocol.WINDOW, "channel": 2, "count": 1},
        {"kind": protocol.EOF, "channel": 2},
        {"kind": protocol.RESET, "channel": 2},
    ):
        ends.launcher.hear(**message)
    assert not ends.to_guest
