"""What a sandbox's first bytes and names are taken for."""

from __future__ import annotations

import contextlib
import ssl
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.egress.policy.verdict import Malformed
from moat_nb.egress.proxy.client_hello import MAX_HELLO, server_name
from tests.egress.certificates import write_authority
from tests.egress.running import client_hello

HELLO = client_hello("pypi.test")
SSL2 = bytes.fromhex("802b0103010012000000100000390000350000160000130000100700c0") + bytes(16)
"""A hello of SSL 2, which begins with a length; OpenSSL by itself would take it."""


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


def name_list(*names: bytes) -> bytes:
    entries = b"".join(b"\0" + len(name).to_bytes(2, "big") + name for name in names)
    return extension(0, len(entries).to_bytes(2, "big") + entries)


def hello(extensions: bytes, after: bytes = b"", version: bytes = b"\x03\x03") -> bytes:
    body = version + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    body += len(extensions).to_bytes(2, "big") + extensions + after
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


def in_records(message: bytes, size: int) -> bytes:
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def session_between(client: ssl.SSLContext, server: ssl.SSLContext) -> ssl.SSLSession:
    """After a handshake in memory."""
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(one, other, server_hostname="pypi.test"),
        server.wrap_bio(other, one, server_side=True),
    )
    for end in ends * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    ends[1].write(b"x")
    assert ends[0].read(1) == b"x"  # the tickets of TLS 1.3 came before it
    assert ends[0].session is not None
    return ends[0].session


def test_the_name_in_openssls_hello_is_found_once_it_is_whole() -> None:
    assert server_name(HELLO) == "pypi.test"
    assert server_name(HELLO + b"what follows") == "pypi.test"
    for end in range(len(HELLO)):
        assert server_name(HELLO[:end]) is None


def test_a_hello_without_a_name_names_no_host() -> None:
    assert server_name(client_hello(None)) == ""
    assert server_name(hello(b"")) == ""


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x02\x00\x00\x05hello",
        b"\x16\x03\x01\x00\x00" + HELLO,
        b"\x16\x03\x01\xff\xff" + HELLO,
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        HELLO[:5] + b"\x02" + HELLO[6:],
        hello(name_list(b"pypi.test") + name_list(b"other.test")),
        hello(name_list(b"pypi.test", b"other.test")),
        hello(name_list(b"pypi.test")[:-3]),
        hello(name_list(b"pypi.test"), after=b"\0\0"),
        hello(extension(0, b"\xff\xff\0\0\x01a")),
        hello(name_list(b"pypi.test\0.other.test")),
        hello(name_list("pypi.tést".encode())),
        hello(name_list(b"pypi.t\xe9st")),
        hello(name_list(b"x" * 256)),
        SSL2,
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff" + b"\x16\x03\x01\x40\x00" * (MAX_HELLO // 4),
    ],
)
def test_a_hello_that_can_be_read_in_two_ways_or_in_none_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        server_name(data)


@pytest.mark.parametrize("version", [b"\x03\x01", b"\x03\x02", b"\x03\x03"])
def test_an_old_protocol_is_for_the_host_to_refuse(version: bytes) -> None:
    assert server_name(hello(name_list(b"pypi.test"), version=version)) == "pypi.test"


@pytest.mark.parametrize("size", [1, 50])
def test_a_hello_cut_into_many_records_is_read(size: int) -> None:
    cut = in_records(HELLO[5:], size)
    assert server_name(cut) == "pypi.test"
    assert server_name(cut[:-1]) is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_hello_that_resumes_a_session_is_read(tmp_path: Path, version: ssl.TLSVersion) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _, certificate = write_authority(tmp_path, ["pypi.test"])
    server.load_cert_chain(certificate)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.maximum_version = version
    session = session_between(client, server)
    assert session.has_ticket
    outgoing = ssl.MemoryBIO()
    again = client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="pypi.test", session=session)
    with pytest.raises(ssl.SSLWantReadError):
        again.do_handshake()
    assert server_name(outgoing.read()) == "pypi.test"


@pytest.mark.parametrize("name", ["pypi.tést".encode(), b"\xff"])
def test_a_name_that_is_not_ascii_prints_nothing(
    name: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """ssl would print it on stderr, where the launcher listens to the proxy."""
    before = sys.unraisablehook
    with pytest.raises(Malformed):
        server_name(hello(name_list(name)))
    assert sys.unraisablehook is before
    assert capfd.readouterr() == ("", "")


def test_one_hello_says_nothing_of_the_next() -> None:
    assert server_name(HELLO) == "pypi.test"
    assert server_name(client_hello("other.test")) == "other.test"
    assert server_name(client_hello(None)) == ""
    assert server_name(HELLO[:9]) is None


@given(st.binary(max_size=400), st.integers(0, len(HELLO)), st.integers(0, 20))
def test_any_bytes_are_a_name_or_more_is_asked_for_or_they_are_refused(
    noise: bytes, at: int, gone: int
) -> None:
    try:
        found = server_name(HELLO[:at] + noise + HELLO[at + gone :])
    except Malformed:
        return
    assert found is None or isinstance(found, str)


@given(st.binary(max_size=MAX_HELLO))
def test_a_hello_is_never_waited_for_without_end(data: bytes) -> None:
    with pytest.raises(Malformed):
        server_name(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + data + bytes(MAX_HELLO))


def test_a_hello_that_openssl_would_wait_for_is_waited_for_up_to_a_bound() -> None:
    long = in_records(b"\x01\x00\xff\xff" + bytes(MAX_HELLO), 1 << 14)
    assert server_name(long[:MAX_HELLO]) is None
    with pytest.raises(Malformed, match="too long"):
        server_name(long[: MAX_HELLO + 1])


def test_a_hello_that_is_too_long_is_refused_when_it_is_there_whole_too() -> None:
    padding = extension(21, bytes(MAX_HELLO))
    long = in_records(hello(padding + name_list(b"pypi.test"))[5:], 1 << 14)
    with pytest.raises(Malformed, match="too long"):
        server_name(long)
    short = extension(21, bytes(20_000))
    fits = in_records(hello(short + name_list(b"pypi.test"))[5:], 1 << 14)
    assert server_name(fits + bytes(MAX_HELLO)) == "pypi.test"
