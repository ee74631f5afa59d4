"""The attached stdin, stdout and stderr of a container, held for its life."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

from moat_nb.runtimes.docker.engine import engine_errors

if TYPE_CHECKING:
    import docker


STDERR_TAIL = 64 << 10


class DockerStream:
    """The attach stream of a container that was made with ``StdinOnce``.

    Attached before the start, so that nothing is missed; the engine frames stdout and stderr
    with eight bytes: the stream's number, three zeros, and the length (big endian).
    """

    def __init__(self, client: docker.APIClient, name: str) -> None:
        self._client = client
        params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        wrapper = client.attach_socket(name, params=params)
        self._wrapper = wrapper
        self._socket: socket.socket = getattr(wrapper, "_sock", wrapper)
        self._socket.settimeout(None)
        self._left = 0
        self._stream = 0
        self._stderr = bytearray()
        self._status: int | None = None
        self._waiter = threading.Thread(
            target=self._wait, args=(name,), name="moat-wait", daemon=True
        )
        self._waiter.start()

    def _wait(self, name: str) -> None:
        # Asked for before the start: AutoRemove takes the exit code away with the container.
        try:
            answer = self._client.wait(name, timeout=None, condition="removed")
            self._status = answer.get("StatusCode")
        except engine_errors():
            self._status = None
        finally:
            self._client.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> bytes:
        while True:
            if self._left == 0:
                header = self._exactly(8)
                if not header:
                    return b""
                self._stream, self._left = struct.unpack(">BxxxL", header)
                continue
            data = self._socket.recv(min(self._left, 1 << 16))
            if not data:
                return b""
            self._left -= len(data)
            if self._stream == 1:
                return data
            self._stderr += data
            del self._stderr[:-STDERR_TAIL]

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            if not part:
                return b""
            data += part
        return data

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        # The SDK's wrapper counts as a user of the socket: until it is closed, so is nothing.
        self._socket.close()
        self._wrapper.close()

    def last_words(self) -> str:
        self._waiter.join(timeout=30)
        words = []
        if self._status is not None:
            oom = " (SIGKILL; out of memory, or killed)" if self._status == 137 else ""
            words.append(f"the container exited with {self._status}{oom}")
        if tail := bytes(self._stderr).decode(errors="replace").strip():
            words.append("\n".join(tail.splitlines()[-20:]))
        return "\n".join(words)
