"""CONNECT: what may be said inside, and to whom."""

from __future__ import annotations

import socket
import ssl
import subprocess

import pytest

from moat_nb.egress.options import Deadlines
from tests.egress.internet import PRIVATE
from tests.egress.port_forward import forwarded
from tests.egress.running import Running, client_hello, everything, rules
from tests.unit.egress.conftest import Start

PAGE = b"GET /page HTTP/1.1\r\nHost: pypi.test\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(("name", "port"), [("pypi", 443), ("six", 443), ("pypi", 8443)])
def test_tls_is_carried_to_its_end_on_any_port_and_over_ipv6(
    permissive: Running, name: str, port: int
) -> None:
    with permissive.https(f"{name}.test", port) as tls:
        tls.sendall(PAGE)
        assert b"GET /page HTTP/1.1" in everything(tls)


def test_what_was_carried_is_recorded_at_its_end_with_bytes_and_rule(start: Start) -> None:
    proxy = start(policy="strict", rules=rules("*.test"))
    with proxy.https("pypi.test") as tls:
        tls.sendall(b"GET /bytes/100000 HTTP/1.1\r\n\r\n")
        assert len(everything(tls)) > 100_000
    (record,) = proxy.records()
    assert (record["method"], record["host"], record["port"]) == ("CONNECT", "pypi.test", 443)
    assert (record["path"], record["status"], record["outcome"]) == (None, 200, "passed")
    assert record["rule"] == "moat.yaml:3:7 *.test"
    assert record["received"] > 100_000 > record["sent"] > 100
    assert record["seconds"] >= 0
    assert proxy.news() == []


def test_a_host_that_is_not_allowed_is_refused_before_it_is_resolved(start: Start) -> None:
    """A name that is looked up reaches the name server of whoever owns it."""
    proxy = start(policy="strict", rules=rules("pypi.test"))
    _, line = proxy.tunnel("unasked.test")
    assert line == (
        b"HTTP/1.1 403 moat: unasked.test is not in network.rules (policy strict);"
        b' add "- unasked.test" to network.rules in moat.yaml'
    )
    # The name server gives this name's good address to who asks first.
    assert start().get("http://unasked.test/").status == 200


@pytest.mark.parametrize("name", ["other.test", "PYPI.test.evil.test"])
def test_tls_for_another_host_than_the_connects_is_refused(permissive: Running, name: str) -> None:
    with pytest.raises(ssl.SSLError, match="ACCESS_DENIED"):
        permissive.https("pypi.test", name=name)


def test_tls_for_no_host_is_refused(start: Start) -> None:
    proxy = start()
    sock, _ = proxy.tunnel("pypi.test")
    sock.sendall(client_hello(None))
    assert everything(sock)[:1] == b"\x15"
    (record,) = proxy.records()
    assert record["reason"] == "is asked for no host by name inside TLS"
    assert (record["outcome"], record["received"]) == ("refused", 0)


def test_tls_for_a_name_that_is_not_ascii_is_refused_and_the_proxy_says_no_more(
    start: Start,
) -> None:
    proxy = start()
    sock, _ = proxy.tunnel("pypi.test")
    name = b"pypi.t\xe9st"
    sock.sendall(client_hello("pypi.test").replace(b"pypi.test", name))
    assert everything(sock)[:1] == b"\x15"
    (record,) = proxy.records()
    assert record["reason"].startswith("it does not begin with a TLS ClientHello that can be read")
    assert (record["outcome"], record["received"]) == ("failed", 0)
    assert proxy.news() == [record]


def test_a_hello_in_pieces_and_in_several_records_is_read(permissive: Running) -> None:
    hello = client_hello("pypi.test")
    body = hello[5:]
    pieces = [body[at : at + 50] for at in range(0, len(body), 50)]
    sock, _ = permissive.tunnel("pypi.test", 9)
    spoken = b"".join(hello[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    for at in range(0, len(spoken), 40):
        sock.sendall(spoken[at : at + 40])
    sock.shutdown(socket.SHUT_WR)
    assert everything(sock) == str(len(spoken)).encode()


def test_a_connection_may_be_closed_in_one_direction_first(permissive: Running) -> None:
    """The server answers only once it has read to the end."""
    hello = client_hello("pypi.test")
    sock, _ = permissive.tunnel("pypi.test", 9)
    sock.sendall(hello + b"x" * 1_000_000)
    sock.shutdown(socket.SHUT_WR)
    assert everything(sock) == str(len(hello) + 1_000_000).encode()


@pytest.mark.parametrize(
    "words",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"EHLO evil.test\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f and more of PostgreSQL",
        b"\x16\x02\x00\x00\x05hello" + b"\0" * 30,
        b"get / HTTP/1.1\r\n\r\n" + b"x" * 30,
    ],
)
def test_what_is_neither_tls_nor_http_is_refused(start: Start, words: bytes) -> None:
    proxy = start()
    sock, line = proxy.tunnel("pypi.test")
    assert line == b"HTTP/1.1 200 Connection established"
    sock.sendall(words)
    assert everything(sock)[:1] in (b"", b"\x15")
    (record,) = proxy.records()
    assert record["outcome"] in ("refused", "failed")
    assert record["received"] == 0


def test_a_server_that_speaks_first_is_not_heard(start: Start) -> None:
    proxy = start()
    sock, _ = proxy.tunnel("pypi.test", 22)
    sock.shutdown(socket.SHUT_WR)
    assert b"SSH" not in everything(sock)
    (record,) = proxy.records()
    assert record["reason"] == "was connected to, and the sandbox hung up"


def test_http_inside_connect_is_judged_request_by_request(start: Start) -> None:
    """Some clients, Node's among them, use CONNECT for plain HTTP too."""
    proxy = start(policy="strict", rules=rules(("pypi.test", ("allow GET /page",))))
    sock, _ = proxy.tunnel("pypi.test", 80)
    sock.sendall(PAGE.replace(b"Connection: close\r\n", b"") + PAGE.replace(b"/page", b"/x"))
    answers = everything(sock)
    assert answers.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 403 moat: pypi.test has no rule that allows GET /x" in answers
    assert [record["path"] for record in proxy.records()] == ["/page", "/x"]


@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_connect_without_a_whole_request_leaves_a_record(start: Start, hangs_up: bool) -> None:
    proxy = start(deadlines=Deadlines(head=60 if hangs_up else 1))
    sock, _ = proxy.tunnel("pypi.test", 80)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: py")
    if hangs_up:
        sock.shutdown(socket.SHUT_WR)
    everything(sock)
    (record,) = proxy.records()
    assert (record["host"], record["port"]) == ("pypi.test", 80)
    assert record["method"] == ("" if hangs_up else "CONNECT")


@pytest.mark.parametrize(
    "request_", [PAGE.replace(b"pypi", b"other"), PAGE.replace(b"/page", b"http://other.test/")]
)
def test_http_inside_connect_is_for_the_host_that_was_named(
    permissive: Running, request_: bytes
) -> None:
    sock, _ = permissive.tunnel("pypi.test", 80)
    sock.sendall(request_)
    assert everything(sock).startswith((b"HTTP/1.1 403 moat: ", b"HTTP/1.1 400 moat: "))


@pytest.mark.parametrize(("method", "answer"), [(b"OPTIONS", b"200 OK"), (b"GET", b"400 moat: ")])
def test_a_star_instead_of_a_path_is_for_options_alone(
    permissive: Running, method: bytes, answer: bytes
) -> None:
    sock, _ = permissive.tunnel("pypi.test", 80)
    sock.sendall(PAGE.replace(b"GET /page", method + b" *"))
    assert everything(sock).startswith(b"HTTP/1.1 " + answer)


def test_a_connect_inside_a_connect_is_no_way_out(permissive: Running) -> None:
    sock, _ = permissive.tunnel("pypi.test", 80)
    sock.sendall(f"CONNECT {PRIVATE}:80 HTTP/1.1\r\nHost: {PRIVATE}\r\n\r\n".encode())
    assert everything(sock).startswith((b"HTTP/1.1 403 moat: ", b"HTTP/1.1 400 moat: "))


def test_ports_of_this_machine_are_reached_when_they_are_listed(start: Start) -> None:
    proxy = start(host_ports=(7700,))
    script = (
        "import socket; server = socket.create_server(('127.0.0.1', 7700)); print('up', flush=True)"
        "; sock, _ = server.accept(); sock.sendall(sock.recv(100).upper())"
    )
    command = proxy.internet.on_this_machine("python3", "-c", script)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        sock, line = proxy.tunnel("host.moat", 7700)
        assert line == b"HTTP/1.1 200 Connection established"
        sock.sendall(b"word")
        assert sock.recv(100) == b"WORD"
    _, line = proxy.tunnel("host.moat", 7701)
    assert line == (
        b"HTTP/1.1 403 moat: host.moat port 7701 of this machine is not in network.host;"
        b" add 7701 to network.host"
    )


def test_curl_reaches_what_is_allowed_and_says_why_it_is_refused(start: Start) -> None:
    proxy = start(policy="strict", rules=rules("pypi.test"))
    found = []
    with forwarded(proxy.path) as port:
        for host in ("pypi.test", "other.test"):
            command = ["curl", "-sS", "--proxy", f"http://127.0.0.1:{port}", "--noproxy", ""]
            command += ["--cacert", str(proxy.internet.authority), f"https://{host}/page"]
            found.append(subprocess.run(command, capture_output=True, text=True, check=False))
    assert found[0].stdout.startswith("GET /page HTTP/1.1")
    assert found[1].returncode == 56  # curl's own word is only "response 403"
    (record,) = proxy.news()
    assert record["hint"] == 'add "- other.test" to network.rules in moat.yaml'
