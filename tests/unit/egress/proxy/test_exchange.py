"""Plain HTTP through the proxy, with servers that do as they should and servers that lie."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import socket
from collections.abc import Iterator

import pytest
import websocket
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.egress.running import Running, everything, rules
from tests.unit.egress.conftest import Start

PAGE = b"GET http://pypi.test/page HTTP/1.1\r\nHost: pypi.test\r\n\r\n"


def test_a_request_reaches_its_host_without_what_was_meant_for_the_proxy(
    permissive: Running,
) -> None:
    seen = permissive.get(
        "http://pypi.test/page?q=1",
        headers={
            "Proxy-Connection": "keep-alive",
            "Proxy-Authorization": "Basic c2VjcmV0",
            "Connection": "X-Mine",
            "X-Mine": "of this connection",
            "TE": "trailers",
            "X-Original-URL": "/secret",
            "x-rewrite-url": "/secret",
            "X-Theirs": "kept",
        },
    ).read()
    assert seen.startswith(b"GET /page?q=1 HTTP/1.1\r\n")
    assert b"Host: pypi.test\r\n" in seen and b"X-Theirs: kept\r\n" in seen
    for gone in (b"Proxy-", b"X-Mine", b"TE:", b"secret"):
        assert gone.lower() not in seen.lower()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_arrives_as_it_was_sent(permissive: Running, chunked: bool) -> None:
    body = bytes(range(256)) * 4096

    def pieces() -> Iterator[bytes]:
        yield from (body[at : at + 10_000] for at in range(0, len(body), 10_000))

    sent = pieces() if chunked else body
    answer = permissive.get("http://pypi.test/echo", "POST", body=sent)
    assert answer.read().decode() == f"{len(body)} {hashlib.sha256(body).hexdigest()}"


def test_several_requests_go_over_one_connection_each_judged(start: Start) -> None:
    proxy = start(policy="strict", rules=rules("pypi.test", "six.test"))
    client = http.client.HTTPConnection("proxy")
    client.sock = proxy.connect()
    found = []
    for name in ("pypi", "six", "other"):
        client.request("GET", f"http://{name}.test/")
        answer = client.getresponse()
        answer.read()
        found.append(answer.status)
    assert found == [200, 200, 403]
    assert [record["host"] for record in proxy.records()] == ["pypi.test", "six.test", "other.test"]


def test_requests_that_are_sent_ahead_are_answered_in_turn(permissive: Running) -> None:
    last = PAGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert permissive.ask(PAGE + PAGE + last).count(b"HTTP/1.1 200 OK") == 3


def test_a_server_may_ask_for_the_body_first(permissive: Running) -> None:
    with permissive.connect() as sock:
        sock.sendall(
            b"POST http://pypi.test/echo HTTP/1.1\r\nHost: pypi.test\r\n"
            b"Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 Continue\r\n")
        sock.sendall(b"ok")
        assert everything(sock).startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_answer_before_the_body_has_gone_is_passed_on(permissive: Running) -> None:
    with permissive.connect() as sock:
        sock.sendall(
            b"POST http://pypi.test/early HTTP/1.1\r\nHost: pypi.test\r\n"
            b"Content-Length: 1000000\r\n\r\nonly so much"
        )
        assert everything(sock).startswith(b"HTTP/1.1 413 Too Large\r\n")


def test_trailers_are_passed_on_in_neither_direction(permissive: Running) -> None:
    """They would be headers that nobody has looked at."""
    answer = permissive.ask(
        PAGE.replace(b"/page", b"/trailers").replace(b"1.1\r\n", b"1.1\r\nConnection: close\r\n", 1)
    )
    assert b"\r\n\r\n4\r\nfour\r\n0\r\n\r\n" in answer
    assert b"x-late" not in answer.lower()
    body = b"4\r\nfour\r\n0\r\nHost: other.test\r\n\r\n"
    head = b"POST http://pypi.test/echo HTTP/1.1\r\nHost: pypi.test\r\nConnection: close\r\n"
    answer = permissive.ask(head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert answer.endswith(f"4 {hashlib.sha256(b'four').hexdigest()}".encode())


def test_a_websocket_is_carried_once_both_sides_have_switched(permissive: Running) -> None:
    with permissive.connect() as sock:
        sock.sendall(
            b"GET http://pypi.test/socket HTTP/1.1\r\nHost: pypi.test\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        head = sock.recv(1000)
        assert head.startswith(b"HTTP/1.1 101 ")
        # Without both, clients take the answer for none (RFC 6455, section 4.1).
        assert b"\r\nconnection: upgrade\r\n" in head.lower()
        assert head.lower().count(b"\r\nupgrade: websocket\r\n") == 1
        sock.sendall(b"word")
        assert sock.recv(100) == b"WORD"


def test_a_websocket_librarys_client_is_content_with_the_answer(permissive: Running) -> None:
    sock, _ = permissive.tunnel("pypi.test", 8081)
    client = websocket.create_connection("ws://pypi.test:8081/echo", socket=sock)
    for words in ("one", "two", "x" * 200_000):
        client.send(words)
        assert client.recv() == words
    client.close()


def test_no_other_protocol_is_offered_to_a_server(permissive: Running) -> None:
    """In HTTP/2 over plain text, further requests would pass the rules unseen."""
    answer = permissive.get(
        "http://pypi.test/socket",
        headers={"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "A"},
    )
    assert (answer.status, answer.read()) == (200, b"not asked for")


@pytest.mark.parametrize(
    ("upgrades", "offered"),
    [
        (("h2c", "websocket"), b"websocket"),
        (("websocket, h2c",), b"websocket"),
        (("WebSocket", "websocket"), b"websocket"),
        (("h2c, TLS/1.0",), None),
    ],
)
def test_a_server_is_offered_one_websocket_whatever_else_is_asked_for(
    permissive: Running, upgrades: tuple[str, ...], offered: bytes | None
) -> None:
    head = "".join(f"Upgrade: {upgrade}\r\n" for upgrade in upgrades)
    seen = permissive.ask(
        "GET http://pypi.test/ HTTP/1.1\r\nHost: pypi.test\r\nHTTP2-Settings: A\r\n"
        f"{head}Connection: close, Upgrade, HTTP2-Settings\r\n\r\n".encode()
    ).lower()
    assert re.findall(rb"\r\nupgrade: (.*?)\r", seen) == ([offered] if offered else [])
    assert b"http2-settings" not in seen


def test_a_server_that_switches_to_another_protocol_is_not_heard(start: Start) -> None:
    """What was said to it then would be judged by nobody."""
    proxy = start()
    with proxy.connect() as sock:
        sock.sendall(
            b"GET http://pypi.test/smuggle HTTP/1.1\r\nHost: pypi.test\r\n"
            b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: A\r\n"
            b"Upgrade: h2c\r\nUpgrade: websocket\r\n\r\nGET /further"
        )
        answer = everything(sock)
    assert answer.startswith(b"HTTP/1.1 502 moat: pypi.test switched to another protocol")
    assert b"further" not in answer
    (record,) = proxy.records()
    assert (record["outcome"], record["status"]) == ("failed", 502)


def test_a_server_that_answers_a_byte_at_a_time_is_waited_for(permissive: Running) -> None:
    assert permissive.get("http://pypi.test/trickle").read() == b"slow!"


def test_an_answer_to_head_has_no_body_though_the_server_sends_one(permissive: Running) -> None:
    head = PAGE.replace(b"GET", b"HEAD")
    last = PAGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    first, _, second = permissive.ask(head + last).partition(b"\r\n\r\n")
    assert b"Content-Length: " in first
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_answer_of_http_1_0_ends_with_its_connection(permissive: Running) -> None:
    assert permissive.get("http://pypi.test/old").read() == b"until the end"


@pytest.mark.parametrize("path", ["short", "cut"])
def test_an_answer_that_ends_too_early_is_not_taken_for_the_whole(
    permissive: Running, path: str
) -> None:
    answer = permissive.get(f"http://pypi.test/{path}")
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        answer.read()


def test_what_a_server_says_beyond_its_content_length_goes_nowhere(permissive: Running) -> None:
    again = PAGE.replace(b"/page", b"/long").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answers = permissive.ask(PAGE.replace(b"/page", b"/long") + again)
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.count(b"four") == 2


@pytest.mark.parametrize("path", ["both", "two", "garbage", "head", "nothing"])
def test_an_answer_that_can_be_read_in_two_ways_or_in_none_is_not_passed_on(
    permissive: Running, path: str
) -> None:
    answer = permissive.get(f"http://pypi.test/{path}")
    assert answer.status == 502
    assert answer.reason.startswith("moat: pypi.test ")


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: -1",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length : 4",
        "X: \x00",
        "Host: other.test",
        "X: " + "x" * 200_000,
    ],
)
def test_a_request_that_can_be_read_in_two_ways_or_in_none_reaches_no_host(
    start: Start, head: str
) -> None:
    proxy = start()
    answer = proxy.ask(
        f"POST http://pypi.test/echo HTTP/1.1\r\nHost: pypi.test\r\n{head}\r\n\r\n"
        "0\r\n\r\nGET http://pypi.test/ HTTP/1.1\r\nHost: pypi.test\r\n\r\n".encode("latin-1")
    )
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 4")
    assert [record["received"] for record in proxy.records()] == [0]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/page", 400),
        ("https://pypi.test/page", 400),
        ("ftp://pypi.test/page", 400),
        ("http://ada:lace@pypi.test/page", 400),
        ("http://pypi.test:99999/", 400),
        ("http:///page", 400),
        ("http://pypi.test/a#/../../secret", 400),
        ("http://pypi.test#/page", 400),
        ("http://pypi.test", 200),
        ("http://PYPI.test:80?q", 200),
        ("http://pypi.test.:8080/page", 200),
    ],
)
def test_a_request_names_its_host_in_its_url(permissive: Running, target: str, status: int) -> None:
    answer = permissive.ask(f"GET {target} HTTP/1.0\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("host", ["other.test", "pypi.test:81", "pypi.test@other.test", ""])
def test_a_host_header_for_another_host_is_refused(permissive: Running, host: str) -> None:
    answer = permissive.ask(f"GET http://pypi.test/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 403 moat: ", b"HTTP/1.1 400 moat: "))


def test_a_refusal_says_what_to_add_in_its_first_line_and_its_body(start: Start) -> None:
    proxy = start(policy="strict", rules=rules("pypi.test"), file="/srv/demo/moat.yaml")
    answer = proxy.get("http://other.test/page?token=secret")
    words = (
        "moat: other.test is not in network.rules (policy strict);"
        ' add "- other.test" to network.rules in moat.yaml'
    )
    assert (answer.status, answer.reason) == (403, words)
    assert answer.read().decode() == f"{words}\n"
    (record,) = proxy.news()
    assert record["hint"] == 'add "- other.test" to network.rules in moat.yaml'
    assert (record["method"], record["path"], record["status"]) == ("GET", "/page", 403)


def test_a_refusal_cannot_be_used_to_write_headers(start: Start) -> None:
    proxy = start(policy="strict", rules=rules(("pypi.test", ("allow GET /a",))))
    answer = proxy.get("http://pypi.test/x%0d%0aSet-Cookie:%20a=b")
    assert answer.status == 403
    assert answer.getheader("Set-Cookie") is None


def test_rules_with_methods_and_paths_hold_for_plain_http(start: Start) -> None:
    proxy = start(
        policy="strict", rules=rules(("pypi.test", ("deny * /a/secret", "allow GET /a/*")))
    )
    asked = [("GET", "/a/b"), ("POST", "/a/b"), ("GET", "/a/secret"), ("GET", "/a/./x/../secret")]
    found = [proxy.get(f"http://pypi.test{path}", method).status for method, path in asked]
    assert found == [200, 403, 403, 403]
    assert [record["rule"] for record in proxy.records()] == [
        "moat.yaml:3:7 pypi.test: allow GET /a/*",
        "policy strict",
        "moat.yaml:3:7 pypi.test: deny * /a/secret",
        "moat.yaml:3:7 pypi.test: deny * /a/secret",
    ]


def test_policy_none_reaches_nothing(start: Start) -> None:
    assert start(policy="none", rules=rules("pypi.test")).get("http://pypi.test/").status == 403


def test_a_sandbox_that_hangs_up_does_not_keep_the_host_waiting(start: Start) -> None:
    proxy = start()
    with proxy.connect() as sock:
        sock.sendall(PAGE.replace(b"/page", b"/silent"))
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock).startswith(b"HTTP/1.1 400 moat: ")
    (record,) = proxy.records()
    assert record["reason"] == "the sandbox hung up before the answer came"


PIECES = st.sampled_from(
    [
        *(
            b"GET ",
            b"POST ",
            b"CONNECT ",
            b"http://pypi.test/",
            b"pypi.test:80",
            b"http://10.9.9.9/",
        ),
        *(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: pypi.test\r\n", b"\r\n", b"\r", b"\n", b"\0"),
        *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n"),
        *(b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"\x16\x03\x01\x00\x05hello"),
    ]
)


@settings(max_examples=100)
@given(st.lists(PIECES | st.binary(max_size=20), max_size=12).map(b"".join))
def test_whatever_a_sandbox_sends_is_answered_or_closed_and_the_next_is_served(
    one_permissive: Running, sent: bytes
) -> None:
    with one_permissive.for_a_while() as proxy:
        with contextlib.suppress(BrokenPipeError):
            sock = proxy.connect()
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            everything(sock)
        assert proxy.get("http://pypi.test/").status == 200
