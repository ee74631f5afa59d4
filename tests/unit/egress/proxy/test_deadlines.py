"""What is not waited for without end, each with a deadline that a test need not wait for."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from moat_nb.egress.options import Deadlines
from moat_nb.egress.proxy.interception import make_authority
from tests.egress.internet import PUBLIC
from tests.egress.running import SECONDS, Running, client_hello, everything, rules
from tests.unit.egress.conftest import Start

SOON = 1.0
"""Long enough for a busy machine to get as far as where it is to wait."""
HEAD = Deadlines(head=2 * SOON)
IDLE = Deadlines(idle=SOON)


@pytest.mark.parametrize("said", [b"", b"GET http://pypi.test/ HTTP/1.1\r\nHost: py"])
def test_a_request_that_does_not_come_whole_is_not_waited_for(start: Start, said: bytes) -> None:
    with start(deadlines=HEAD).connect() as sock:
        sock.sendall(said)
        assert everything(sock) == b""


def test_a_sandbox_that_says_nothing_after_connect_is_not_waited_for(start: Start) -> None:
    proxy = start(deadlines=HEAD)
    sock, _ = proxy.tunnel("pypi.test")
    assert everything(sock) == b""
    assert proxy.next_record()["reason"] == "was connected to, and the sandbox said nothing"


def test_a_tls_handshake_that_stops_is_not_waited_for(start: Start, tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    opened = rules(("pypi.test", ("allow GET /page",)))
    proxy = start(deadlines=HEAD, rules=opened, intercept=authority)
    sock, _ = proxy.tunnel("pypi.test")
    sock.sendall(client_hello("pypi.test"))
    everything(sock)
    assert proxy.next_record()["reason"] == "the sandbox does not finish its TLS handshake"


def test_a_host_that_does_not_speak_tls_is_not_waited_for(start: Start, tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    opened = rules(("pypi.test", ("allow GET /page",)))
    proxy = start(deadlines=HEAD, rules=opened, intercept=authority)
    with proxy.https("pypi.test", 9, trust=Path(authority.certificate)) as tls:
        tls.sendall(b"GET /page HTTP/1.1\r\nHost: pypi.test:9\r\nConnection: close\r\n\r\n")
        answer = everything(tls)
    assert answer.startswith(b"HTTP/1.1 504 moat: pypi.test does not finish its TLS handshake")


def test_an_upstream_proxy_that_does_not_answer_is_not_waited_for(start: Start) -> None:
    _, line = start(deadlines=HEAD, upstream=f"http://{PUBLIC}:9").tunnel("pypi.test")
    assert line.startswith(b"HTTP/1.1 504 ") and line.endswith(b"proxy does not answer")


def test_a_host_that_nobody_answers_at_is_not_waited_for(start: Start) -> None:
    _, line = start(deadlines=Deadlines(connect=SOON)).tunnel("dead.test")
    assert line == b"HTTP/1.1 504 moat: dead.test does not answer within 1 seconds"


def test_a_server_that_does_not_answer_is_not_waited_for(start: Start) -> None:
    answer = start(deadlines=IDLE).get("http://pypi.test/silent")
    assert (answer.status, answer.reason) == (504, "moat: pypi.test said nothing for 1 seconds")


@pytest.mark.parametrize("port", [9, 10])
def test_a_tunnel_in_which_nothing_is_said_ends_though_one_side_has_ended(
    start: Start, port: int
) -> None:
    """The server at port 10 has ended its side, and waits for ours."""
    proxy = start(deadlines=IDLE)
    sock, _ = proxy.tunnel("pypi.test", port)
    sock.sendall(client_hello("pypi.test"))
    found = proxy.next_record()
    assert (found["outcome"], found["reason"]) == ("failed", "nothing was said for 1 seconds")
    everything(sock)


@pytest.mark.parametrize("way", ["plain", "tunnel"])
def test_a_sandbox_that_does_not_read_is_not_waited_for(start: Start, way: str) -> None:
    proxy = start(deadlines=Deadlines(idle=5 * SOON))
    ask = b"GET /bytes/100000000 HTTP/1.1\r\nHost: pypi.test\r\n\r\n"
    if way == "plain":
        proxy.connect().sendall(ask.replace(b"/bytes", b"http://pypi.test/bytes"))
    else:
        proxy.https("pypi.test").sendall(ask)
    found = proxy.next_record()
    assert found["reason"].endswith(
        ("nothing was taken for 5 seconds", "nothing was said for 5 seconds")
    )
    assert 0 < found["received"] < 100_000_000


def test_the_end_of_an_answer_that_nobody_takes_is_not_kept(start: Start) -> None:
    """It is less than makes the proxy wait, and more than a socket of the system's takes."""
    proxy = start(deadlines=Deadlines(idle=SOON, head=SOON))
    sock = proxy.connect()
    size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    sock.sendall(f"GET http://pypi.test/bytes/{size} HTTP/1.1\r\nHost: pypi.test\r\n\r\n".encode())
    proxy.next_record()
    idle = start()
    assert idle.ask(b"what is none\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    give_up = time.monotonic() + SECONDS
    while files(proxy) > files(idle):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def files(proxy: Running) -> int:
    """How many it has open."""
    return len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir()))


@pytest.mark.parametrize("frame", ["Content-Length: 10", "Transfer-Encoding: chunked"])
def test_a_connect_with_a_body_is_none(start: Start, frame: str) -> None:
    proxy = start()
    with proxy.connect() as sock:
        sock.sendall(
            f"CONNECT pypi.test:443 HTTP/1.1\r\nHost: pypi.test:443\r\n{frame}\r\n\r\n".encode()
        )
        assert everything(sock).startswith(b"HTTP/1.1 400 moat: pypi.test a CONNECT has no body")


def test_a_sandbox_that_hangs_up_after_the_next_request_is_noticed(start: Start) -> None:
    proxy = start()
    ask = b"GET http://pypi.test/silent HTTP/1.1\r\nHost: pypi.test\r\n\r\n"
    sock = proxy.connect()
    sock.sendall(ask)
    sock.sendall(ask)
    sock.shutdown(socket.SHUT_WR)
    assert everything(sock).startswith(b"HTTP/1.1 400 moat: ")
    assert proxy.next_record()["reason"] == "the sandbox hung up before the answer came"
