"""A proxy that runs, and the ways to speak to it that the tests need."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from moat_nb.config.model import Rule
from moat_nb.egress.options import ProxyOptions
from moat_nb.egress.policy.network_policy import NetworkPolicy
from moat_nb.egress.process import command
from tests.egress.internet import Internet

SECONDS = 60
"""None of the tests takes so long; a hung proxy fails them."""


@dataclass(kw_only=True)
class Running:
    path: str
    records_file: Path
    process: subprocess.Popen[bytes]
    internet: Internet
    undo: contextlib.ExitStack
    """Closes what the tests have opened."""

    @contextlib.contextmanager
    def for_a_while(self) -> Iterator[Running]:
        """The same proxy; what is opened on it meanwhile is closed at the end."""
        with contextlib.ExitStack() as undo:
            yield replace(self, undo=undo)

    def connect(self) -> socket.socket:
        sock = self.undo.enter_context(socket.socket(socket.AF_UNIX))
        sock.settimeout(SECONDS)
        sock.connect(self.path)
        return sock

    def ask(self, request: bytes) -> bytes:
        """All that comes back for ``request``, sent as it is."""
        with self.connect() as sock:
            sock.sendall(request)
            return everything(sock)

    def get(self, url: str, method: str = "GET", **options: Any) -> http.client.HTTPResponse:
        """By the standard library's client, in plain HTTP."""
        client = http.client.HTTPConnection("proxy")
        client.sock = self.connect()
        client.request(method, url, **options)
        return self.undo.enter_context(client.getresponse())

    def tunnel(self, host: str, port: int = 443) -> tuple[socket.socket, bytes]:
        """A connection on which CONNECT was said, and the answer's first line."""
        sock = self.connect()
        sock.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n") and (byte := sock.recv(1)):
            head += byte
        return sock, head.partition(b"\r\n")[0]

    def https(
        self, host: str, port: int = 443, name: str | None = None, trust: Path | None = None
    ) -> ssl.SSLSocket:
        """TLS with ``host`` through a tunnel; ``name`` is what TLS asks for, if another."""
        sock, line = self.tunnel(host, port)
        assert line == b"HTTP/1.1 200 Connection established", line
        context = ssl.create_default_context(cafile=trust or self.internet.authority)
        return self.undo.enter_context(context.wrap_socket(sock, server_hostname=name or host))

    def records(self) -> list[dict[str, Any]]:
        """Of all that has ended so far, as they began: stops the proxy."""
        self.stop()
        found = [json.loads(line) for line in self.records_file.read_text().splitlines()]
        return sorted(found, key=lambda record: float(record["time"]))

    def next_record(self) -> dict[str, Any]:
        """The first there is, once there is one; the proxy goes on."""
        give_up = time.monotonic() + SECONDS
        while not (file := self.records_file).exists() or not (
            lines := file.read_text().splitlines()
        ):
            assert time.monotonic() < give_up
            time.sleep(0.01)
        return dict(json.loads(lines[0]))

    def news(self) -> list[dict[str, Any]]:
        """What it told the launcher, once it is stopped."""
        self.stop()
        assert self.process.stdout is not None
        return [json.loads(line) for line in self.process.stdout]

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(SECONDS) == 0


def client_hello(name: str | None) -> bytes:
    """What OpenSSL says first to a server of this name."""
    context = ssl.create_default_context()
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def everything(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := sock.recv(1 << 16):
            data += more
    return data


NETWORK = {field.name for field in fields(NetworkPolicy)}


def rules(*entries: str | tuple[str, tuple[str, ...]]) -> tuple[Rule, ...]:
    """From host names, and host names with lines."""
    made = []
    for number, entry in enumerate(entries, start=3):
        host, lines = (entry, ()) if isinstance(entry, str) else entry
        parsed = tuple(tuple(line.split()) for line in lines)
        made.append(Rule(host=host, lines=parsed, where=f"moat.yaml:{number}:7"))  # type: ignore[arg-type]
    return tuple(made)


@contextlib.contextmanager
def running(internet: Internet, directory: Path, **options: Any) -> Iterator[Running]:
    """As the launcher starts it: a socket that listens, and the order on stdin."""
    path = directory / "egress"
    records = directory / "records"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(1000)
        policy = {key: options.pop(key) for key in NETWORK & options.keys()}
        given = ProxyOptions(
            **{
                "listen_fd": listening.fileno(),
                "network": NetworkPolicy(**{"policy": "permissive", **policy}),
                "records": str(records),
                "limit": 1 << 20,
                **options,
            }
        )
        process = subprocess.Popen(
            internet.on_this_machine(*command()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            env={},
        )
    with process, contextlib.ExitStack() as undo:
        assert process.stdin is not None
        process.stdin.write(given.line())
        process.stdin.flush()
        yield Running(
            path=str(path), records_file=records, process=process, internet=internet, undo=undo
        )
