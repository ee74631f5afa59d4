"""A port of 127.0.0.1 that leads to the proxy's socket, for programs that cannot use that."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def forwarded(path: str) -> Iterator[int]:
    """The port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_accept, args=(listening, path))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listening: socket.socket, path: str) -> None:
    threads = []
    with contextlib.suppress(OSError):
        while True:
            client, _ = listening.accept()
            threads.append(threading.Thread(target=_connection, args=(client, path)))
            threads[-1].start()
    for thread in threads:
        thread.join()


def _connection(client: socket.socket, path: str) -> None:
    with client, socket.socket(socket.AF_UNIX) as proxy:
        proxy.connect(path)
        back = threading.Thread(target=_carry, args=(proxy, client))
        back.start()
        _carry(client, proxy)
        back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
