"""The launcher's tunnel against a guest that is these tests: real sockets, messages by hand."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moat_nb.errors import SandboxGone, StartError
from moat_nb.guest import protocol
from moat_nb.sandbox.tunnel import MOST_WAITING, LauncherTunnel

SECONDS = 300


class Guest:
    def __init__(self, directory: Path) -> None:
        self.sent: queue.Queue[dict[str, Any]] = queue.Queue()
        self.abandoned: queue.Queue[str] = queue.Queue()
        self.gone = False
        self.opened: list[socket.socket] = []
        self.proxy = self.keep(socket.socket(socket.AF_UNIX))
        self.proxy.bind(str(directory / "proxy"))
        self.proxy.listen()
        self.tunnel = LauncherTunnel(self.send, self.abandoned.put, directory / "proxy")

    def send(self, kind: str, body: bytes | None = None, **fields: Any) -> None:
        if self.gone:
            raise SandboxGone("it is gone")
        self.sent.put({"kind": kind, "body": body, **fields})

    def keep(self, sock: socket.socket) -> socket.socket:
        """It is closed after the test."""
        self.opened.append(sock)
        sock.settimeout(SECONDS)
        return sock

    def await_end(self) -> None:
        for thread in threading.enumerate():
            if thread.name == "moat-tunnel":
                thread.join(SECONDS)
                assert not thread.is_alive()

    def connected(self, path: str) -> socket.socket:
        client = self.keep(socket.socket(socket.AF_UNIX))
        client.connect(path)
        return client

    def says(self, kind: str, **fields: Any) -> None:
        self.tunnel.hear({"type": kind, **fields})

    def told(self) -> dict[str, Any]:
        return self.sent.get(timeout=SECONDS)


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guest]:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    made = Guest(Path())
    yield made
    made.tunnel.close()
    made.await_end()
    for sock in made.opened:
        sock.close()


def test_a_socket_here_leads_to_the_same_path_inside(guest: Guest) -> None:
    guest.tunnel.listen(["1-1", "1-2"])
    client = guest.connected("1-2")
    client.sendall(b"hello")
    opened = guest.told()
    assert (opened["kind"], opened["name"]) == (protocol.OPEN, "1-2")
    number = opened["channel"]
    carried = {"kind": protocol.DATA, "body": b"hello", "channel": number}
    assert guest.told() == carried
    guest.says(protocol.DATA, channel=number, body=b"welcome")
    assert client.recv(100) == b"welcome"
    assert guest.told()["kind"] == protocol.WINDOW
    guest.says(protocol.RESET, channel=number)
    assert client.recv(100) == b""


def test_what_was_there_is_replaced_and_what_is_ended_takes_nobody(guest: Guest) -> None:
    end_first = guest.tunnel.listen(["1-1"])
    end_second = guest.tunnel.listen(["1-1"])
    end_first()
    guest.connected("1-1")
    assert guest.told()["kind"] == protocol.OPEN
    end_second()
    guest.says(protocol.OPEN, channel=7, name="nothing")  # its answer comes after that
    assert guest.told()["kind"] == protocol.RESET
    assert not Path("1-1").exists()


def test_who_comes_after_has_the_path_whenever_the_one_before_ends(guest: Guest) -> None:
    end = guest.tunnel.listen(["1-1"])
    for _ in range(200):
        end()
        end = guest.tunnel.listen(["1-1"])
        assert Path("1-1").exists()
    guest.says(protocol.OPEN, channel=1, name="")  # its answer comes after all ends
    guest.told()
    guest.connected("1-1")


def test_where_no_socket_can_be_made_the_start_fails_and_leaves_none(guest: Guest) -> None:
    with pytest.raises(StartError, match="no/such: no socket can be made there: No such"):
        guest.tunnel.listen(["1-1", "no/such"])
    with pytest.raises(ConnectionRefusedError):
        guest.connected("1-1")


def test_the_proxy_can_be_reached_from_inside(guest: Guest) -> None:
    guest.says(protocol.OPEN, channel=1, name=protocol.PROXY)
    guest.says(protocol.DATA, channel=1, body=b"GET")
    accepted = guest.keep(guest.proxy.accept()[0])
    assert accepted.recv(3) == b"GET"


@pytest.mark.parametrize("name", ["/var/run/docker.sock", "./proxy", "", "proxy\0"])
def test_nothing_else_can(guest: Guest, name: str) -> None:
    guest.says(protocol.OPEN, channel=1, name=name)
    assert guest.told() == {"kind": protocol.RESET, "body": None, "channel": 1}


def test_without_a_proxy_not_even_that(guest: Guest) -> None:
    alone = LauncherTunnel(guest.send, guest.abandoned.put, None)
    alone.hear({"type": protocol.OPEN, "channel": 1, "name": protocol.PROXY})
    assert guest.told()["kind"] == protocol.RESET
    alone.close()


@pytest.mark.parametrize(
    "message",
    [
        {"type": protocol.OPEN, "channel": 1, "name": 5},
        {"type": protocol.OPEN, "channel": 1, "name": ["proxy"]},
        {"type": protocol.OPEN, "channel": 1 << 60, "name": "proxy"},
        {"type": protocol.EOF, "channel": "x" * 5000},
        {"type": protocol.EOF, "channel": True},
        {"type": protocol.WINDOW, "channel": 1, "count": 10**400},
        {"type": protocol.WINDOW, "channel": 1, "count": "1"},
        {"type": ["open"], "channel": 1},
        {"type": protocol.OPEN, "channel": 1, "name": "x" * 5000},
        {"type": protocol.OPEN, "channel": 1},
        {"type": protocol.EOF, "channel": 1, "more": "x" * 5000},
        {"type": protocol.DATA, "channel": 1},
        {"type": protocol.WINDOW, "channel": 1, "body": b"x"},
    ],
)
def test_what_is_no_message_of_a_guests_does_not_even_wait(
    guest: Guest, message: dict[str, Any]
) -> None:
    with pytest.raises((ValueError, TypeError)):
        guest.tunnel.hear(message)


def test_a_guest_that_breaks_the_rules_is_ended(guest: Guest) -> None:
    guest.says(protocol.OPEN, channel=2, name=protocol.PROXY)
    assert "no guest of ours sends (ValueError" in guest.abandoned.get(timeout=SECONDS)


def test_what_waits_here_has_a_bound(guest: Guest) -> None:
    holds, let_go = threading.Event(), threading.Event()
    guest.tunnel._order(lambda: (holds.set(), let_go.wait(SECONDS)))
    holds.wait(SECONDS)
    body = bytes(1 << 20)
    with pytest.raises(ValueError, match="more than there is room for"):
        for _ in range(MOST_WAITING // len(body) + 1):
            guest.says(protocol.DATA, channel=1, body=body)
    let_go.set()


def test_it_ends_with_the_sandbox_and_so_do_its_connections(guest: Guest) -> None:
    guest.tunnel.listen(["1-1"])
    client = guest.connected("1-1")
    guest.told()
    guest.tunnel.close()
    guest.tunnel.close()
    assert client.recv(1) == b""
    guest.await_end()
    with pytest.raises(ConnectionRefusedError):
        guest.connected("1-1")
    guest.tunnel.listen(["1-2"])  # nobody comes to know of these
    with pytest.raises(ConnectionRefusedError):
        guest.connected("1-2")
    assert guest.abandoned.empty()


def test_the_end_of_the_guest_is_no_fault_of_its_own(guest: Guest) -> None:
    guest.tunnel.listen(["1-1"])
    guest.gone = True
    assert guest.connected("1-1").recv(1) == b""
    guest.await_end()
    assert guest.abandoned.empty()
