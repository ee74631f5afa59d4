"""Who is let in at a port of a sandbox, by the first request's head alone."""

from __future__ import annotations

import pytest

from moat_nb.host.ports.head import answer_to, no_answer
from tests.unit.host.ports.doors import DOOR

CHROMIUM = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/120",
    "Sec-Fetch-Site: none",
    "Upgrade-Insecure-Requests: 1",
)


def head(*fields: str, first: str = "GET /x?y HTTP/1.1") -> bytes:
    return "\r\n".join((first, *fields, "", "")).encode("latin-1")


@pytest.mark.parametrize(
    "fields",
    [
        ("Host: web.p-0123abcd.localhost:45678", *CHROMIUM, "Cookie: a=b"),
        ("host:WEB.P-0123abcd.localhost",),  # a name has no case, and need not have a port
        ("Host: web.p-0123abcd.localhost:9", "Origin: http://elsewhere"),  # behind ssh -L
        ("Host: 127.0.0.1:45678", "User-Agent: curl/7.88.1", "Accept: */*"),
        ("Host: localhost:45678",),
    ],
)
def test_who_names_it_and_programs_that_are_no_browser_are_let_in(fields: tuple[str, ...]) -> None:
    assert answer_to(head(*fields), DOOR) is None


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "DELETE", "M-SEARCH"])
def test_every_method_is_let_in(method: str) -> None:
    asked = head("Host: web.p-0123abcd.localhost", first=f"{method} / HTTP/1.1")
    assert answer_to(asked, DOOR) is None


@pytest.mark.parametrize(
    "field",
    [
        *CHROMIUM,
        "sec-anything: 1",
        "COOKIE: username-127-0-0-1-8888=x",
        "Origin: http://127.0.0.1:8888",
        "Referer: http://127.0.0.1:8888/lab",
        "User-agent: something like MOZILLA/4.0",
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1:45678", "localhost:45678", "LOCALHOST"])
def test_any_sign_of_a_browser_leads_it_to_the_ports_own_name(host: str, field: str) -> None:
    answer = answer_to(head(f"Host: {host}", field), DOOR)
    assert answer is not None
    assert (answer.status, answer.location) == (307, f"{DOOR.url}/x?y")
    assert b"\r\nLocation: http://web.p-0123abcd.localhost:45678/x?y\r\n\r\n" in answer.encode()


@pytest.mark.parametrize(
    "asked",
    [
        head("Host: localhost", *CHROMIUM, first="POST / HTTP/1.1"),
        head("Host: localhost", "Sec-Fetch-Site: cross-site"),  # another site's page asks
    ],
)
def test_what_is_more_than_a_users_question_is_not_led_on(asked: bytes) -> None:
    answer = answer_to(asked, DOOR)
    assert answer is not None
    assert (answer.status, answer.location) == (421, "")


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "p-0123abcd.localhost", "x.web.p-0123abcd.localhost", "0.0.0.0:45678"),
        *("web.p-0123abcd.localhost.", "127.1", "2130706433", "localhost.", "web.p-0123abcd"),
    ],
)
def test_another_name_is_nobodys_and_is_told_nothing(host: str) -> None:
    """A page elsewhere whose name leads here (DNS rebinding) says its own."""
    answer = answer_to(head(f"Host: {host}"), DOOR)
    assert answer is not None
    assert answer.status == 421
    assert DOOR.host not in answer.encode().decode()


@pytest.mark.parametrize(
    "asked",
    [
        head(),
        head("Host: 127.0.0.1", "Host: web.p-0123abcd.localhost"),
        head("Host: "),
        head("Host: [::1]:45678"),
        head("Host: web.p-0123abcd.localhost:x"),
        head("Host: web.p-0123abcd.localhost", " folded: line"),
        head("Host: web.p-0123abcd.localhost", "Name : x"),
        head("Host: web.p-0123abcd.localhost", "A: x\ry"),
        head("Host: web.p-0123abcd.localhost\nCookie: x"),
        head("Host: web.p-0123abcd.localhost", first="GET http://127.0.0.1/ HTTP/1.1"),
        head("Host: web.p-0123abcd.localhost", first="CONNECT a:1 HTTP/1.1"),
        head("Host: web.p-0123abcd.localhost", first="PRI * HTTP/2.0"),
        b"\x16\x03\x01\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_what_two_readers_may_read_in_two_ways_is_no_request(asked: bytes) -> None:
    answer = answer_to(asked, DOOR)
    assert answer is not None
    assert answer.status == 400


def test_a_server_that_is_not_there_yet_is_told_of_with_its_port() -> None:
    said = no_answer(DOOR).encode().decode()
    assert said.startswith("HTTP/1.1 502 Bad Gateway\r\n")
    assert "nothing answers at port 3000 of the sandbox (web)" in said
