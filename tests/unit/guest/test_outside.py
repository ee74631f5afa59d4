"""Whether a network leads out, tried on loopback."""

from __future__ import annotations

import socket

import pytest

from moat_nb.guest import outside
from moat_nb.guest.outside import Attempt, named, take_cluster


def test_the_clusters_variables_are_taken_and_no_others(monkeypatch, tmp_path) -> None:
    (tmp_path / "resolv").write_text("search x\nnameserver 10.0.0.10\nnameserver fe80::1%eth0\n")
    monkeypatch.setattr(outside, "RESOLVER", str(tmp_path / "resolv"))
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443", "A": "b"}
    environ["KUBERNETES_PORT_443_TCP"] = "tcp://10.0.0.1:443"
    assert [named(target) for target in take_cluster(environ)] == [
        "tcp 10.0.0.1:443",
        *("tcp 10.0.0.10:53", "udp 10.0.0.10:53", "tcp fe80::1:53", "udp fe80::1:53"),
    ]
    assert environ == {"A": "b"}
    monkeypatch.setattr(outside, "RESOLVER", str(tmp_path / "none"))
    assert take_cluster({}) == []


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_who_answers_was_reached(kind: str) -> None:
    how = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, how) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        if kind == "tcp":
            server.listen()
        attempt = Attempt([(kind, "127.0.0.1", port)])
        if kind == "udp":
            _, sender = server.recvfrom(512)
            server.sendto(b"answer", sender)
        assert attempt.answered() == [f"{kind} 127.0.0.1:{port}"]


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_who_refuses_was_reached_too(kind: str) -> None:
    attempt = Attempt([(kind, "127.0.0.1", 9)])  # discard, where nobody listens
    assert attempt.answered() == [f"{kind} 127.0.0.1:9"]


def test_silence_is_no_answer() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        attempt = Attempt([("udp", *server.getsockname())])
        assert attempt.answered() == [] and attempt.sent == len(outside.TRIES)


def test_where_there_is_nothing_to_try_nothing_answers() -> None:
    assert Attempt([]).answered() == []


def test_what_answered_long_ago_is_heard_however_late_it_is_asked() -> None:
    """Imports may take longer than any answer."""
    with socket.socket() as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        server.bind(("127.0.0.1", 0))
        server.listen()
        other.bind(("127.0.0.1", 0))
        targets = [("tcp", *server.getsockname()), ("udp", *other.getsockname())]
        attempt = Attempt(targets)
        attempt.begun -= 1000
        assert attempt.answered() == [named(targets[0])]
        assert attempt.sent == len(outside.TRIES)
