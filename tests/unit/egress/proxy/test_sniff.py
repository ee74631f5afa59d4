"""What a sandbox may say first after a CONNECT, over real sockets."""

from __future__ import annotations

import asyncio
import socket

import pytest

from moat_nb.egress.options import Deadlines
from moat_nb.egress.policy.verdict import Ended, Failed, Refused
from moat_nb.egress.proxy.sniff import ACCESS_DENIED, sniff
from moat_nb.egress.proxy.streams import CHUNK, Plain
from tests.egress.running import client_hello

GET = b"GET / HTTP/1.1\r\nHost: pypi.test\r\n\r\n"
HELLO = client_hello("pypi.test")


def sniffed(
    said: list[bytes], *, begun: bytes = b"", deadlines: Deadlines | None = None, end: bool = True
) -> tuple[tuple[bytes, bool] | Ended, bytes]:
    """What comes of it for the host pypi.test, and what the sandbox is answered; each of ``said``
    arrives by itself, and then the end unless the sandbox waits."""

    async def main() -> tuple[tuple[bytes, bool] | Ended, bytes]:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        client = Plain(reader, writer, deadlines or Deadlines())
        with theirs:
            theirs.setblocking(False)
            sniffing = asyncio.ensure_future(sniff(client, begun, "pypi.test"))
            loop = asyncio.get_running_loop()
            for piece in said:
                await loop.sock_sendall(theirs, piece)
                await asyncio.sleep(0.001)
            if end:
                theirs.shutdown(socket.SHUT_WR)
            found: tuple[bytes, bool] | Ended
            try:
                found = await sniffing
            except Ended as ended:
                found = ended
            client.close()
            answer = b""
            while more := await loop.sock_recv(theirs, CHUNK):
                answer += more
            return found, answer

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("said", "tls"),
    [
        ([GET], False),
        ([GET[:1], GET[1:7], GET[7:]], False),
        ([HELLO], True),
        ([HELLO[:1], HELLO[1:60], HELLO[60:]], True),
    ],
)
def test_http_and_tls_pass_however_they_are_cut_and_nothing_of_them_is_lost(
    said: list[bytes], tls: bool
) -> None:
    (found, answer) = sniffed(said)
    assert not isinstance(found, Ended)
    begun, is_tls = found
    assert is_tls == tls
    assert b"".join(said).startswith(begun) and (begun == HELLO if tls else b"\n" in begun)
    assert answer == b""


def test_what_was_read_with_the_connect_counts() -> None:
    assert sniffed([HELLO[9:]], begun=HELLO[:9])[0] == (HELLO, True)
    assert sniffed([], begun=GET)[0] == (GET, False)


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"EHLO mail.test\r\n",
        b"GET /\r\n",
        b"GET / HTTP/2.0\r\n",
        b"get / HTTP/1.1\r\n",
        b"\0\0\0\x08\x04\xd2\x16\x2f",  # a PostgreSQL client
        b"A" * (1 << 15),
    ],
)
def test_other_protocols_are_refused_and_answered_with_nothing(said: bytes) -> None:
    found, answer = sniffed([said])
    assert isinstance(found, Refused)
    assert "neither TLS nor HTTP" in str(found)
    assert answer == b""


@pytest.mark.parametrize("name", ["other.test", None])
def test_tls_to_another_host_or_to_none_is_refused_with_an_alert(name: str | None) -> None:
    found, answer = sniffed([client_hello(name)])
    assert isinstance(found, Refused)
    assert f"asked for {name or 'no host by name'} inside TLS" in str(found)
    assert answer == ACCESS_DENIED


def test_one_who_hangs_up_or_says_nothing_has_failed() -> None:
    for said in ([], [HELLO[:40]], [b"GE"]):
        found, _ = sniffed(said)
        assert isinstance(found, Failed) and "hung up" in str(found)
    found, _ = sniffed([b"GE"], deadlines=Deadlines(head=0.05), end=False)
    assert isinstance(found, Failed) and "said nothing" in str(found)
