"""The unix socket that leads to an engine elsewhere, and the process behind it."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from moat_nb.runtimes.docker.endpoint import Endpoint, EndpointError
from moat_nb.runtimes.docker.forwarded import socket_of


def endpoint(address: tuple[str, int]) -> Endpoint:
    return Endpoint(url="tcp://x", said="DOCKER_HOST", address=address)


def ended(path: str) -> None:
    """Have the forwarder of a socket end, and wait for it."""
    pid = int(Path(f"{path}.pid").read_text())
    Path(path).unlink()
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.01)


def test_bytes_and_both_ends_are_carried_and_one_process_serves_all(
    echo: tuple[str, int], runs: Path
) -> None:
    environ = {"XDG_RUNTIME_DIR": str(runs), "HOME": str(runs), "PATH": "/usr/bin:/bin"}
    path = socket_of(endpoint(echo), environ)
    pid = Path(f"{path}.pid").read_text()
    assert Path(path).parent.stat().st_mode & 0o777 == 0o700
    assert Path(path).stat().st_mode & 0o777 == 0o700
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


def test_what_cannot_be_reached_is_told_and_nothing_runs_then(runs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    environ = {"XDG_RUNTIME_DIR": str(runs), "HOME": str(runs)}
    with pytest.raises(EndpointError, match=r"DOCKER_HOST is tcp://x: .*Connect call"):
        socket_of(endpoint(address), environ)
    assert [path.suffix for path in runs.rglob("engines/*")] in ([".lock"], [])
