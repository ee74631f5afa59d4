"""``python -m moat_nb.cli.bench.egress``: bytes through the proxy, beside a direct connection.

Client and server are this process; the proxy, and the guest's forwarder, which comes before it in a
sandbox, are processes of their own, as there.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from moat_nb.config.model import Rule
from moat_nb.egress.options import ProxyOptions, install_command
from moat_nb.egress.policy.hostnames import HOST_GATEWAY
from moat_nb.egress.policy.network_policy import NetworkPolicy
from moat_nb.egress.process import command
from moat_nb.host.scratch import scratch_directory
from moat_nb.text.tables import table

__all__ = ["main", "throughput"]

SIZE = 256 << 20
"""Bytes of one run."""
RUNS = 7
_MIB = 1 << 20

_OPENED = Rule(host="localhost", lines=(("allow", "GET", "/**"),))
_CARRY = """\
import sys
from moat_nb.guest.port_forward import Forwarder, Listener
from moat_nb.guest.settings import PortForward
Forwarder([Listener(int(sys.argv[1]), PortForward(0, sys.argv[2], ""))], 1024).run()
"""
Connect = Callable[[], socket.socket]


def main() -> None:
    found = throughput(SIZE, RUNS)
    rows = [("WAY", "MIB/S", "OF DIRECT")]
    rows += [
        (way, f"{rate / _MIB:.0f}", f"{rate / found['direct']:.2f}") for way, rate in found.items()
    ]
    print(table(rows))


def throughput(size: int, runs: int) -> dict[str, float]:
    """Bytes a second by each way: medians of runs that are taken in turns.

    TLS that is opened is measured where ``moat-nb[intercept]`` is installed.
    """
    seconds: dict[str, list[float]] = {}
    with contextlib.ExitStack() as undo:
        ways = _ways(undo, size)
        for _ in range(runs):
            for way, connect in ways.items():
                seconds.setdefault(way, []).append(_download(connect, size))
    return {way: size / statistics.median(taken) for way, taken in seconds.items()}


def _ways(undo: contextlib.ExitStack, size: int) -> dict[str, Connect]:
    """Each gives a connection on which the server has been asked for all it has."""
    directory = undo.enter_context(scratch_directory("moat-nb-bench-"))
    tls = None if install_command() else _Tls(directory)
    port = undo.enter_context(_server(size, None))
    tls_port = undo.enter_context(_server(size, tls.server)) if tls else 0
    path = undo.enter_context(_proxy(directory, port, tls))
    forwarder = undo.enter_context(_forwarder(path))
    ways: dict[str, Connect] = {
        "direct": lambda: _asked(_tcp(port)),
        "plain HTTP": lambda: _asked(_unix(path), f"http://localhost:{port}/"),
        "CONNECT": lambda: _asked(_tunnel(_unix(path), HOST_GATEWAY, port)),
        "forwarder and CONNECT": lambda: _asked(_tunnel(_tcp(forwarder), HOST_GATEWAY, port)),
    }
    if tls is not None:
        direct, opened = tls.trusting_server, tls.trusting_proxy
        ways["direct TLS"] = lambda: _asked(_in_tls(_tcp(tls_port), direct))
        ways["opened TLS"] = lambda: _asked(
            _in_tls(_tunnel(_unix(path), "localhost", tls_port), opened)
        )
    return ways


def _download(connect: Connect, size: int) -> float:
    begin = time.perf_counter()
    with contextlib.closing(connect()) as sock:
        buffer = memoryview(bytearray(_MIB))
        total = 0
        while count := sock.recv_into(buffer):
            total += count
    if total < size:
        raise RuntimeError(f"{total} bytes of {size} came")
    return time.perf_counter() - begin


def _tcp(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def _unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return sock


def _tunnel(sock: socket.socket, host: str, port: int) -> socket.socket:
    sock.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    sock.recv(1024)  # Connection established
    return sock


def _in_tls(sock: socket.socket, context: ssl.SSLContext) -> socket.socket:
    return context.wrap_socket(sock, server_hostname="localhost")


def _asked(sock: socket.socket, url: str = "/") -> socket.socket:
    sock.sendall(f"GET {url} HTTP/1.0\r\n\r\n".encode())
    return sock


class _Tls:
    """The certificates of both: the server's, and those that the proxy shows in its place."""

    def __init__(self, directory: Path) -> None:
        from moat_nb.egress.proxy.interception import Interceptor, make_authority

        (directory / "server").mkdir()
        theirs = make_authority(directory / "server")
        self.intercept = make_authority(directory)
        self.trust = theirs.certificate
        self.server = Interceptor(theirs, theirs.certificate).for_sandbox("localhost")
        self.trusting_server = ssl.create_default_context(cafile=theirs.certificate)
        self.trusting_proxy = ssl.create_default_context(cafile=self.intercept.certificate)


@contextlib.contextmanager
def _server(size: int, context: ssl.SSLContext | None) -> Iterator[int]:
    """Its port; it answers whatever it is asked with ``size`` bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listening, tempfile.TemporaryFile() as file:
        file.truncate(size)
        thread = threading.Thread(target=_serve, args=(listening, file, size, context))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(
    listening: socket.socket, file: IO[bytes], size: int, context: ssl.SSLContext | None
) -> None:
    with contextlib.suppress(OSError):
        while True:
            accepted, _ = listening.accept()
            with context.wrap_socket(accepted, server_side=True) if context else accepted as client:
                client.recv(4096)
                client.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
                file.seek(0)  # in TLS it is read from where it stands
                client.sendfile(file, 0)


@contextlib.contextmanager
def _proxy(directory: Path, port: int, tls: _Tls | None) -> Iterator[str]:
    """The path of its socket."""
    path = str(directory / "proxy")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        options = ProxyOptions(
            listen_fd=listening.fileno(),
            network=NetworkPolicy(
                policy="permissive",
                host_ports=(port,),
                rules=(_OPENED,) if tls else (),
            ),
            records=str(directory / "records"),
            limit=_MIB,
            intercept=tls.intercept if tls else None,
            trust=tls.trust if tls else None,
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
        process.stdin.write(options.line())
        process.stdin.flush()
        try:
            yield path
        finally:
            process.stdin.close()


@contextlib.contextmanager
def _forwarder(path: str) -> Iterator[int]:
    """The port at which the guest's forwarder listens, as in a sandbox."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd, port = listening.fileno(), listening.getsockname()[1]
        process = subprocess.Popen([sys.executable, "-c", _CARRY, str(fd), path], pass_fds=[fd])
    with process:
        try:
            yield port
        finally:
            process.kill()


if __name__ == "__main__":
    main()
