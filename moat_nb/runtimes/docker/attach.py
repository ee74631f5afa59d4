"""The attached stdin, stdout and stderr of a container, held for its life."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

from moat_nb.host.cleanup import connect_http
from moat_nb.runtimes.base import AttachStream
from moat_nb.runtimes.docker.engine import engine_errors
from moat_nb.runtimes.pipes import ready

if TYPE_CHECKING:
    import docker


STDERR_TAIL = 64 << 10

KILL_SECONDS = 2.0
"""For the engine to kill a container; one that is frozen does it when it goes on."""

HEADER = struct.Struct(">BxxxL")
"""Of a frame: the stream's number and the length."""

LAST_WORDS_SECONDS = 10.0
"""For the engine to remove a container that has ended, and tell how."""


class DockerStream(AttachStream):
    """The attach stream of a container that was made with ``StdinOnce``.

    Attached before the start, so that nothing is missed; the engine frames stdout and stderr
    with eight bytes: the stream's number, three zeros, and the length (big endian).
    """

    def __init__(self, client: docker.APIClient, engine: str, name: str) -> None:
        """``engine``: the socket of the engine that ``client`` speaks to."""
        self._client = client
        self._engine = engine
        self._name = name
        params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        wrapper = client.attach_socket(name, params=params)
        self._wrapper = wrapper
        self._socket: socket.socket = getattr(wrapper, "_sock", wrapper)
        self._socket.settimeout(None)
        self._header = b""
        self._left = 0
        self._stream = 0
        self._stderr = bytearray()
        self._status: int | None = None
        self._lost = ""
        """Why nobody will tell how the container ended."""
        self._waiter = threading.Thread(
            target=self._wait, args=(name,), name="moat-wait", daemon=True
        )
        self._waiter.start()

    def _wait(self, name: str) -> None:
        # Asked for before the start: AutoRemove takes the exit code away with the container.
        try:
            answer = self._client.wait(name, timeout=None, condition="removed")
            self._status = answer.get("StatusCode")
        except engine_errors() as error:
            self._lost = f"the engine ended, or the connection to it: {error}"
        finally:
            self._client.close()

    def send(self, data: bytes, timeout: float | None = None) -> None:
        give_up = None if timeout is None else time.monotonic() + timeout
        rest = memoryview(data)
        while rest:
            if not ready(self._socket.fileno(), select.POLLOUT, give_up):
                if len(rest) < len(data):
                    self.kill()
                raise TimeoutError("the sandbox does not read")
            with contextlib.suppress(BlockingIOError):
                rest = rest[self._socket.send(rest, socket.MSG_DONTWAIT) :]

    def receive(self, timeout: float | None = None) -> bytes:
        give_up = None if timeout is None else time.monotonic() + timeout
        while True:
            if not ready(self._socket.fileno(), select.POLLIN, give_up):
                raise TimeoutError("the sandbox says nothing")
            wanted = min(self._left, 1 << 16) or HEADER.size - len(self._header)
            data = self._socket.recv(wanted)
            if not data:
                return b""
            if self._left == 0:
                self._header += data
                if len(self._header) == HEADER.size:
                    self._stream, self._left = HEADER.unpack(self._header)
                    self._header = b""
                continue
            self._left -= len(data)
            if self._stream == 1:
                return data
            self._stderr += data
            del self._stderr[:-STDERR_TAIL]

    def kill(self) -> None:
        # What else has to go, and a kill that the engine does not take now, is the reaper's.
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(connect_http(self._engine, timeout=KILL_SECONDS)) as connection,
        ):
            connection.request("POST", f"/containers/{self._name}/kill")
            connection.getresponse().read()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        # The SDK's wrapper counts as a user of the socket: until it is closed, so is nothing.
        self._socket.close()
        self._wrapper.close()

    def last_words(self) -> str:
        self._waiter.join(timeout=LAST_WORDS_SECONDS)
        words = [self._lost] if self._lost else []
        if self._status is not None:
            oom = " (SIGKILL; out of memory, or killed)" if self._status == 137 else ""
            words.append(f"the container exited with {self._status}{oom}")
        if tail := bytes(self._stderr).decode(errors="replace").strip():
            words.append("\n".join(tail.splitlines()[-20:]))
        return "\n".join(words)
