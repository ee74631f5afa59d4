"""``python -m moat_nb.bench.egress``: bytes through the egress proxy, beside a direct connection.

Client and server are this process, and the proxy is one of its own, as for a sandbox; the guest's
carrier, which comes before it there, is not in it.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from moat_nb.egress.isolated import command
from moat_nb.egress.names import HOST_GATEWAY
from moat_nb.egress.order import Order
from moat_nb.tables import table

__all__ = ["main", "throughput"]

SIZE = 256 << 20
"""Bytes of one run."""
RUNS = 7
_MIB = 1 << 20


def main() -> None:
    found = throughput(SIZE, RUNS)
    rows = [("WAY", "MIB/S", "OF DIRECT")]
    rows += [
        (way, f"{rate / _MIB:.0f}", f"{rate / found['direct']:.2f}") for way, rate in found.items()
    ]
    print(table(rows))


def throughput(size: int, runs: int) -> dict[str, float]:
    """Bytes a second by each way: medians of runs that are taken in turns."""
    seconds: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        _server(size) as port,
        _proxy(Path(directory), port) as path,
    ):
        gate = f"{HOST_GATEWAY}:{port}"
        connect = f"CONNECT {gate} HTTP/1.1\r\nHost: {gate}\r\n\r\n".encode()
        ask = b"GET / HTTP/1.0\r\n\r\n"
        ways = {
            "direct": (None, b"", ask),
            "plain HTTP": (path, b"", ask.replace(b"/", f"http://localhost:{port}/".encode(), 1)),
            "CONNECT": (path, connect, ask),
        }
        for _ in range(runs):
            for way, (through, first, then) in ways.items():
                taken = _download(port, through, first, then, size)
                seconds.setdefault(way, []).append(taken)
    return {way: size / statistics.median(taken) for way, taken in seconds.items()}


def _download(port: int, through: str | None, first: bytes, then: bytes, size: int) -> float:
    begin = time.perf_counter()
    with contextlib.closing(_connect(port, through)) as sock:
        if first:
            sock.sendall(first)
            sock.recv(1024)  # Connection established
        sock.sendall(then)
        buffer = memoryview(bytearray(_MIB))
        total = 0
        while count := sock.recv_into(buffer):
            total += count
    if total < size:
        raise RuntimeError(f"{total} bytes of {size} came")
    return time.perf_counter() - begin


def _connect(port: int, through: str | None) -> socket.socket:
    if through is None:
        return socket.create_connection(("127.0.0.1", port))
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(through)
    return sock


@contextlib.contextmanager
def _server(size: int) -> Iterator[int]:
    """Its port; it answers whatever it is asked with ``size`` bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listening, tempfile.TemporaryFile() as file:
        file.truncate(size)
        thread = threading.Thread(target=_serve, args=(listening, file, size))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listening: socket.socket, file: IO[bytes], size: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listening.accept()
            with client:
                client.recv(4096)
                client.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
                client.sendfile(file, 0)


@contextlib.contextmanager
def _proxy(directory: Path, port: int) -> Iterator[str]:
    """The path of its socket."""
    path = str(directory / "proxy")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        order = Order(
            listen_fd=listening.fileno(),
            policy="permissive",
            records=str(directory / "records"),
            limit=_MIB,
            host_ports=(port,),
            reachable=("127.0.0.1/32", "::1/128"),
        )
        process = subprocess.Popen(
            command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[listening.fileno()],
            cwd="/",
            env={},
        )
    with process:
        assert process.stdin is not None
        process.stdin.write(order.line())
        process.stdin.flush()
        yield path
        process.stdin.close()


if __name__ == "__main__":
    main()
