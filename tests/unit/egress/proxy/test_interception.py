"""TLS opened for rules with methods or paths, and for those alone."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import websocket

from moat_nb.egress.options import Interception
from moat_nb.egress.proxy.interception import make_authority
from tests.egress.internet import PUBLIC, Internet
from tests.egress.port_forward import forwarded
from tests.egress.running import Running, everything, rules
from tests.unit.egress.conftest import Start

RULES = rules(
    ("pypi.test", ("allow GET /page", "allow POST /echo")),
    "six.test",
    ("*.test", ("allow GET /**",)),
)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """``start`` with an authority that the sandbox trusts, which is ``certificate``."""

    start: Start
    given: Interception
    trust: str

    @property
    def certificate(self) -> Path:
        return Path(self.given.certificate)

    def proxy(self, **options: Any) -> Running:
        given = {"rules": RULES, "intercept": self.given, "trust": self.trust}
        return self.start(**{"policy": "strict", **given, **options})


@pytest.fixture
def opening(net: Internet, start: Start) -> Iterator[Opening]:
    with tempfile.TemporaryDirectory(prefix="moat-authority-") as path:
        given = make_authority(Path(path))
        yield Opening(start=start, given=given, trust=str(net.authority))


def asked(tls: ssl.SSLSocket, line: str, body: bytes = b"", host: str = "pypi.test") -> bytes:
    head = f"{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}"
    tls.sendall(head.encode() + b"\r\n\r\n" + body)
    return everything(tls)


def received(tls: ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := tls.recv(size - len(data))):
        data += more
    return data


def test_requests_in_tls_are_judged_one_by_one_and_recorded(opening: Opening) -> None:
    proxy = opening.proxy()
    found = []
    for line in ("GET /page", "GET /x", "DELETE /page"):
        with proxy.https("pypi.test", trust=opening.certificate) as tls:
            found.append(asked(tls, line).partition(b"\r\n")[0])
    assert found == [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 403 moat: pypi.test has no rule that allows GET /x (policy strict);"
        b' add "allow GET /x" to the lines of pypi.test at moat.yaml:3:7',
        b"HTTP/1.1 403 moat: pypi.test has no rule that allows DELETE /page (policy strict);"
        b' add "allow DELETE /page" to the lines of pypi.test at moat.yaml:3:7',
    ]
    assert [(r["method"], r["path"], r["tls"], r["status"]) for r in proxy.records()] == [
        ("GET", "/page", True, 200),
        ("GET", "/x", True, 403),
        ("DELETE", "/page", True, 403),
    ]


def test_several_requests_go_over_one_opened_connection(opening: Opening) -> None:
    proxy = opening.proxy()
    with proxy.https("pypi.test", trust=opening.certificate) as tls:
        client = http.client.HTTPConnection("pypi.test")
        client.sock = tls
        for _ in range(3):
            client.request("GET", "/page")
            assert client.getresponse().read().startswith(b"GET /page HTTP/1.1\r\n")


def test_an_opened_connection_is_ended_in_tls_too(opening: Opening) -> None:
    """Without that, what is read to its end looks cut off to OpenSSL 3."""
    proxy = opening.proxy()
    sock, _ = proxy.tunnel("pypi.test")
    context = ssl.create_default_context(cafile=opening.certificate)
    with context.wrap_socket(sock, server_hostname="pypi.test", suppress_ragged_eofs=False) as tls:
        tls.sendall(b"GET /page HTTP/1.0\r\nHost: pypi.test\r\n\r\n")
        while tls.recv(1 << 16):
            pass


def test_a_large_body_passes_both_ways(opening: Opening) -> None:
    body = bytes(range(256)) * 16384
    proxy = opening.proxy()
    with proxy.https("pypi.test", trust=opening.certificate) as tls:
        answer = asked(tls, "POST /echo", body)
    assert answer.endswith(f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode())


def test_a_websocket_passes_through_an_opened_connection(opening: Opening) -> None:
    proxy = opening.proxy(rules=rules(("pypi.test", ("allow GET /socket",))))
    with proxy.https("pypi.test", trust=opening.certificate) as tls:
        tls.sendall(
            b"GET /socket HTTP/1.1\r\nHost: pypi.test\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert tls.recv(1000).startswith(b"HTTP/1.1 101 ")
        for word in (b"one", b"two", b"x" * 100_000):
            tls.sendall(word)
            assert received(tls, len(word)) == word.upper()
    (record,) = proxy.records()
    assert (record["path"], record["status"], record["outcome"]) == ("/socket", 101, "passed")


def test_a_websocket_librarys_client_is_content_with_an_opened_connection(opening: Opening) -> None:
    proxy = opening.proxy(rules=rules(("pypi.test", ("allow GET /echo",))))
    with proxy.https("pypi.test", 8444, trust=opening.certificate) as tls:
        client = websocket.create_connection("wss://pypi.test:8444/echo", socket=tls)
        client.send("word")
        assert client.recv() == "word"
        client.close()


def test_a_host_without_lines_is_not_opened(opening: Opening) -> None:
    """Its own certificate arrives, not one of the launcher's authority."""
    proxy = opening.proxy()
    with proxy.https("six.test") as tls:
        assert asked(tls, "DELETE /anything", host="six.test").startswith(b"HTTP/1.1 200 OK")
    (record,) = proxy.records()
    assert (record["method"], record["path"]) == ("CONNECT", None)


def test_without_the_authority_nothing_is_opened_and_nothing_passes(opening: Opening) -> None:
    proxy = opening.proxy(intercept=None)
    with pytest.raises(ssl.SSLError, match="ACCESS_DENIED"):
        proxy.https("pypi.test")
    (record,) = proxy.records()
    assert record["reason"] == "has rules with methods or paths, which TLS hides"
    assert record["hint"] == "run pip install 'moat-nb[intercept]'"


def test_addresses_are_checked_behind_interception_too(opening: Opening) -> None:
    proxy = opening.proxy()
    for name in ("private", "metadata", "loopback", "mixed", "mapped", "own"):
        with proxy.https(f"{name}.test", trust=opening.certificate) as tls:
            answer = asked(tls, "GET /", host=f"{name}.test")
        assert answer.startswith(f"HTTP/1.1 403 moat: {name}.test resolves to ".encode())


def test_the_hosts_own_certificate_is_still_checked(opening: Opening) -> None:
    proxy = opening.proxy(trust=str(opening.certificate))
    with proxy.https("pypi.test", trust=opening.certificate) as tls:
        answer = asked(tls, "GET /page")
    assert answer.startswith(b"HTTP/1.1 502 moat: pypi.test cannot be spoken to in TLS: ")
    assert b"CERTIFICATE_VERIFY_FAILED" in answer


@pytest.mark.parametrize("host", ["other.test", "pypi.test:8443"])
def test_a_host_header_for_another_host_is_refused_inside_tls(opening: Opening, host: str) -> None:
    """Domain fronting, which TLS hides where nothing is opened."""
    proxy = opening.proxy()
    with proxy.https("pypi.test", trust=opening.certificate) as tls:
        assert asked(tls, "GET /page", host=host).startswith(b"HTTP/1.1 403 moat: ")


def test_a_sandbox_that_does_not_trust_the_authority_sends_nothing(opening: Opening) -> None:
    proxy = opening.proxy()
    with pytest.raises(ssl.SSLCertVerificationError):
        proxy.https("pypi.test")
    assert [record for record in proxy.records() if record["outcome"] == "passed"] == []


def test_an_opened_host_is_reached_through_the_upstream_proxy(opening: Opening) -> None:
    proxy = opening.proxy(upstream=f"http://ada:lus@{PUBLIC}:3128")
    with proxy.https("pypi.test", trust=opening.certificate) as tls:
        assert asked(tls, "GET /page").startswith(b"HTTP/1.1 200 OK")


def test_curl_and_python_take_the_certificates_strictly(opening: Opening) -> None:
    proxy = opening.proxy()
    context = ssl.create_default_context(cafile=opening.certificate)
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    sock, _ = proxy.tunnel("pypi.test")
    with context.wrap_socket(sock, server_hostname="pypi.test") as tls:
        assert asked(tls, "GET /page").startswith(b"HTTP/1.1 200 OK")
    with forwarded(proxy.path) as port:
        command = ["curl", "-sS", "--proxy", f"http://127.0.0.1:{port}", "--noproxy", ""]
        command += ["--cacert", str(opening.certificate), "https://pypi.test/page"]
        done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.startswith(b"GET /page HTTP/1.1\r\n")


def test_the_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    given = make_authority(tmp_path)
    assert stat.S_IMODE(Path(given.key).stat().st_mode) == 0o600
    assert b"PRIVATE" not in Path(given.certificate).read_bytes()


def test_an_authority_is_made_once_in_a_directory(tmp_path: Path) -> None:
    make_authority(tmp_path)
    with pytest.raises(FileExistsError):
        make_authority(tmp_path)
