"""The launcher's own proxy, and what is still checked on the way to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from moat_nb.egress.upstream import Upstream
from tests.egress.internet import PUBLIC
from tests.egress.running import Running, everything, rules
from tests.unit.egress.conftest import Start

PROXY = f"http://ada:lu%73@{PUBLIC}:3128"


def through(start: Start, **options: Any) -> Running:
    return start(**{"upstream": PROXY, **options})


def test_plain_http_goes_to_the_upstream_proxy_with_the_launchers_password(start: Start) -> None:
    seen = through(start).get(
        "http://pypi.test/page?q=1", headers={"Proxy-Authorization": "Basic c2FuZGJveA=="}
    )
    text = seen.read()
    assert text.startswith(b"GET http://pypi.test/page?q=1 HTTP/1.1\r\n")
    assert text.lower().count(b"proxy-authorization") == 1
    assert b"proxy-authorization: Basic YWRhOmx1cw==\r\n" in text


def test_options_of_a_server_are_asked_for_by_its_url_without_a_path(start: Start) -> None:
    sock, _ = through(start).tunnel("pypi.test", 80)
    sock.sendall(b"OPTIONS * HTTP/1.1\r\nHost: pypi.test\r\nConnection: close\r\n\r\n")
    assert b"OPTIONS http://pypi.test HTTP/1.1\r\n" in everything(sock)


@pytest.mark.parametrize("host", ["pypi.test", "inner.behind.test"])
def test_tls_goes_through_the_upstream_proxys_connect(start: Start, host: str) -> None:
    """The second name is known to the upstream proxy alone."""
    with through(start).https(host) as tls:
        tls.sendall(b"GET /page HTTP/1.1\r\n\r\n")
        assert everything(tls).startswith(b"HTTP/1.1 200 OK")


def test_an_upstream_proxy_in_tls_is_spoken_to_in_tls(start: Start) -> None:
    upstream = "https://ada:lus@pypi.test:3129"
    proxy = through(start, upstream=upstream, trust=str(start().internet.authority))
    with proxy.https("six.test") as tls:
        tls.sendall(b"GET /page HTTP/1.1\r\n\r\n")
        assert everything(tls).startswith(b"HTTP/1.1 200 OK")


def test_an_upstream_proxys_certificate_is_checked(start: Start) -> None:
    _, line = through(start, upstream="https://pypi.test:3129").tunnel("pypi.test")
    assert line.startswith(b"HTTP/1.1 502 moat: pypi.test is not reached: the upstream proxy ")
    assert b"CERTIFICATE_VERIFY_FAILED" in line


def test_hosts_of_no_proxy_are_reached_directly(start: Start) -> None:
    proxy = through(start, no_proxy="localhost, .other.test,PyPI.test")
    assert proxy.get("http://pypi.test/").read().startswith(b"GET / HTTP/1.1\r\n")
    assert proxy.get("http://six.test/").read().startswith(b"GET http://six.test/ HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("10.9.9.9", b"is an address"),
        ("loopback.test", b"resolves to an address that may not be reached (loopback)"),
        ("mixed.test", b"resolves to an address that may not be reached (private)"),
        ("printer", b"is a name of a local network"),
        ("nas.local", b"is a name of a local network"),
    ],
)
def test_what_is_not_public_is_not_asked_of_the_upstream_proxy(
    start: Start, host: str, reason: bytes
) -> None:
    proxy = through(start)
    _, line = proxy.tunnel(host)
    assert line.startswith(b"HTTP/1.1 403 moat: ") and reason in line
    assert proxy.get(f"http://{host}/").status == 403


def test_rules_hold_before_the_upstream_proxy_is_asked(start: Start) -> None:
    _, line = through(start, policy="strict", rules=rules("six.test")).tunnel("pypi.test")
    assert b"pypi.test is not in network.rules" in line


@pytest.mark.parametrize(
    ("upstream", "reason"),
    [
        (f"http://{PUBLIC}:3128", b"wants a password; see HTTPS_PROXY"),
        (f"http://{PUBLIC}:1", b"the upstream proxy cannot be reached: Connection refused"),
        (f"http://{PUBLIC}:22", b"the upstream proxy does not speak HTTP"),
        (f"http://{PUBLIC}:80", b"the upstream proxy speaks before the host is asked"),
    ],
)
def test_an_upstream_proxy_that_does_not_do_is_named_as_the_reason(
    start: Start, upstream: str, reason: bytes
) -> None:
    _, line = through(start, upstream=upstream).tunnel("pypi.test")
    assert line.startswith(b"HTTP/1.1 502 moat: pypi.test is not reached: ")
    assert reason in line


@pytest.mark.parametrize(
    "url",
    [
        "http://ada:hunt/er2@proxy:3128",
        "http://ada:hunt#er2@proxy:3128",
        "http://ada:hunt?er2@proxy:3128",
        "http://ada:77553311/er2@proxy:3128",
        "hunt://er2@proxy:3128",
        "http://ada:hunt[er2@proxy:3128",
    ],
)
def test_no_part_of_a_password_that_is_not_encoded_is_told(start: Start, url: str) -> None:
    proxy = through(start, upstream=url)
    _, line = proxy.tunnel("pypi.test")
    assert line.startswith(b"HTTP/1.1 502 moat: pypi.test is not reached: HTTPS_PROXY of the")
    assert b"percent-encode" in line
    told = line.decode() + str(proxy.news()) + str(Upstream.parse(url))
    assert not {"hunt", "er2", "ada", "77553311"} & set(re.findall(r"\w+", told))


@pytest.mark.parametrize(
    "url", ["socks5://proxy:1080", "http://", "ftp://proxy", "http://proxy:99999", "http://[::1"]
)
def test_another_kind_of_proxy_is_told_of_and_not_gone_around(start: Start, url: str) -> None:
    _, line = through(start, upstream=url).tunnel("pypi.test")
    assert line.startswith(
        b"HTTP/1.1 502 moat: pypi.test is not reached: HTTPS_PROXY of the launcher"
    )


def test_the_password_is_in_no_process_list(start: Start) -> None:
    proxy = through(start)
    proxy.get("http://pypi.test/")
    assert b"lu%73" not in Path(f"/proc/{proxy.process.pid}/cmdline").read_bytes()
