"""The process that leads a socket here to an engine elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moat_nb.runtimes.docker.endpoint import Endpoint, EndpointError
from moat_nb.runtimes.docker.forwarded import socket_of
from moat_nb.runtimes.docker.forwarder import Forwarder


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it gets, and its end; it stands for an engine."""

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listening.accept()[0],)).start()

        thread = threading.Thread(target=accept)
        thread.start()
        yield listening.getsockname()
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def endpoint(address: tuple[str, int]) -> Endpoint:
    return Endpoint(url="tcp://x", said="DOCKER_HOST", address=address)


def ended(path: str) -> None:
    """Have the forwarder of a socket end, and wait for it."""
    pid = int(Path(f"{path}.pid").read_text())
    Path(path).unlink()
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.01)


def test_bytes_and_both_ends_are_carried_and_one_process_serves_all(
    echo: tuple[str, int], tmp_path: Path
) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    path = socket_of(endpoint(echo), environ)
    pid = Path(f"{path}.pid").read_text()
    assert Path(path).parent.stat().st_mode & 0o777 == 0o700
    assert Path(path).stat().st_mode & 0o777 == 0o600
    try:
        sent = bytes(range(256)) * 4096
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                writer = threading.Thread(target=connection.sendall, args=(sent,))
                writer.start()
                got = b""
                while len(got) < len(sent):
                    got += connection.recv(1 << 16)
                writer.join()
                assert got == sent
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(1) == b""
        assert socket_of(endpoint(echo), environ) == path
        assert Path(f"{path}.pid").read_text() == pid
    finally:
        ended(path)
    assert not Path(f"{path}.pid").exists()


def test_what_cannot_be_reached_is_told_and_nothing_runs_then(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    with pytest.raises(EndpointError, match=r"DOCKER_HOST is tcp://x: .*Connect call"):
        socket_of(endpoint(address), environ)
    assert [path.suffix for path in tmp_path.rglob("engines/*")] in ([".lock"], [])


def test_without_connections_it_ends_after_a_while(
    echo: tuple[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "engine")

    async def serve() -> None:
        forwarder = Forwarder(path, lambda: asyncio.open_connection(*echo), idle_seconds=0.1)
        serving = asyncio.ensure_future(forwarder.serve())
        while not Path(path).exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)
        connection = await asyncio.open_unix_connection(path)
        done = await asyncio.wait({serving}, timeout=3)
        assert not done[0]  # somebody is connected
        connection[1].close()
        await serving

    asyncio.run(serve())
    assert capsys.readouterr().out == "ready\n"
    assert not Path(path).exists()
