"""Much at once, and much in one: connections, bytes, and what they cost in memory."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.egress.running import Running, client_hello, everything
from tests.unit.egress.conftest import Start

MIB = 1 << 20
GIB = 1 << 30


def resident(proxy: Running) -> int:
    """Bytes; nsenter has become the proxy."""
    status = Path(f"/proc/{proxy.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def drained(sock: socket.socket, proxy: Running) -> tuple[int, int]:
    """How many bytes come, and the most memory that the proxy took meanwhile."""
    total, most = 0, 0
    buffer = memoryview(bytearray(MIB))
    while count := sock.recv_into(buffer):
        if total // (64 * MIB) != (total + count) // (64 * MIB):
            most = max(most, resident(proxy))
        total += count
    return total, most


def test_a_gibibyte_in_plain_http_passes_in_flat_memory(start: Start) -> None:
    proxy = start()
    before = proxy.get("http://pypi.test/") and resident(proxy)
    with proxy.connect() as sock:
        sock.sendall(
            f"GET http://pypi.test/bytes/{GIB} HTTP/1.1\r\nHost: pypi.test\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        total, most = drained(sock, proxy)
    assert total > GIB
    assert most < before + 32 * MIB


def test_a_gibibyte_in_tls_passes_in_flat_memory(start: Start) -> None:
    proxy = start()
    before = proxy.get("http://pypi.test/") and resident(proxy)
    with proxy.https("pypi.test") as tls:
        tls.sendall(f"GET /bytes/{GIB} HTTP/1.1\r\nHost: pypi.test\r\n\r\n".encode())
        total, most = drained(tls, proxy)
    assert total > GIB
    assert most < before + 32 * MIB


def test_who_does_not_read_costs_no_memory_and_stops_the_sender(start: Start) -> None:
    """The server has a gibibyte to send, and nobody takes it."""
    proxy = start()
    before = proxy.get("http://pypi.test/") and resident(proxy)
    for _ in range(20):
        proxy.connect().sendall(
            f"GET http://pypi.test/bytes/{GIB} HTTP/1.1\r\nHost: pypi.test\r\n\r\n".encode()
        )
    # A round trip of another, after which those have had their turn many times.
    for _ in range(200):
        assert proxy.get("http://pypi.test/").status == 200
    assert resident(proxy) < before + 64 * MIB


def test_500_connections_at_once_are_served(start: Start) -> None:
    """All stand before the first has its answer."""
    proxy = start()
    together = threading.Barrier(500)

    def one(number: int) -> bytes:
        sock, line = proxy.tunnel("pypi.test", 9)
        assert line == b"HTTP/1.1 200 Connection established"
        together.wait()
        sock.sendall(HELLO + b"x" * number)
        sock.shutdown(socket.SHUT_WR)
        return everything(sock)

    with ThreadPoolExecutor(500) as pool:
        answers = list(pool.map(one, range(500)))
    assert answers == [str(len(HELLO) + number).encode() for number in range(500)]
    assert len(proxy.records()) == 500


def test_many_requests_over_tls_at_once_each_get_their_own_answer(start: Start) -> None:
    proxy = start()

    def one(number: int) -> bytes:
        with proxy.https(("pypi.test", "six.test", "both.test")[number % 3]) as tls:
            tls.sendall(f"GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return everything(tls)

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(one, range(200)))
    for number, answer in enumerate(answers):
        assert f"GET /{number} HTTP/1.1".encode() in answer


HELLO = client_hello("pypi.test")
