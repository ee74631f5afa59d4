"""The attach stream of a pod: an exec's websocket, held for the sandbox's life."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from moat_nb.runtimes.base import AttachStream
from moat_nb.runtimes.pipes import ready
from moat_nb.text.terminal import last_lines

if TYPE_CHECKING:
    from kubernetes.stream.ws_client import WSClient

__all__ = ["PodStream"]

STDIN, STDOUT, STDERR, STATUS = range(4)
"""The first byte of each message."""
PIECE = 64 << 10
STDERR_TAIL = 64 << 10
MOST_STATUS = 64 << 10
PIECE_SECONDS = 30.0
"""For a message to come whole, once it has begun."""
MORE_SECONDS = 1.0
"""Past its time, for who receives to come by messages that are nothing for it."""
END_SECONDS = 3.0
"""For the guest to end, once its stdin has."""


class PodStream(AttachStream):
    """``farewell`` has the guest end, as not every cluster can tell it of its stdin's end; ``end``
    removes the pod, at once if it is told so; ``why`` says how it ended."""

    def __init__(
        self,
        client: WSClient,
        farewell: bytes,
        end: Callable[[bool], object],
        why: Callable[[], str],
        *,
        patient: bool = True,
    ) -> None:
        """``patient``: :meth:`close` waits for its end; else it is told of it, and who reads hears
        of the end and closes it once more."""
        self._client, self._farewell = client, farewell
        self._socket = client.sock
        self._socket.settimeout(PIECE_SECONDS)
        self._end, self._why = end, why
        self._stderr, self._status = bytearray(), bytearray()
        self._sending, self._closing = threading.Lock(), threading.Lock()
        self._over = threading.Event()
        self._patient = patient
        self._told = self._closed = self._ended_itself = False
        self._words: str | None = None

    def send(self, data: bytes, timeout: float | None = None) -> None:
        from websocket import WebSocketException

        give_up = None if timeout is None else time.monotonic() + timeout
        with self._sending:
            for at in range(0, len(data), PIECE):
                if self._over.is_set():
                    raise BrokenPipeError("the sandbox has ended")
                if not ready(self._descriptor, select.POLLOUT, give_up):
                    if at:
                        self.kill()
                    raise TimeoutError("the sandbox does not read")
                try:
                    self._client.write_channel(STDIN, bytes(data[at : at + PIECE]))
                except (WebSocketException, OSError) as error:
                    # A part of a message may be on its way.
                    self.kill()
                    raise BrokenPipeError(str(error)) from error

    def receive(self, timeout: float | None = None) -> bytes:
        give_up = None if timeout is None else time.monotonic() + timeout
        while not self._over.is_set():
            if not self._has_some() and not ready(self._descriptor, select.POLLIN, give_up):
                raise TimeoutError("the sandbox says nothing")
            if data := self._message():
                return data
            if give_up is not None and time.monotonic() > give_up + MORE_SECONDS:
                raise TimeoutError("the sandbox says nothing")  # but on stderr
        return b""

    @property
    def _descriptor(self) -> int:
        inner = self._socket.sock
        return -1 if inner is None else int(inner.fileno())

    def _has_some(self) -> bool:
        """What TLS has taken off the socket already, poll() does not tell."""
        inner = self._socket.sock
        return isinstance(inner, ssl.SSLSocket) and inner.pending() > 0

    def _message(self) -> bytes:
        """What the next message says on stdout; empty for any other, and at the end."""
        from websocket import ABNF

        try:
            code, frame = self._socket.recv_data_frame(True)
        except Exception:  # whatever the library makes of a connection that is lost, or was shut
            self._over.set()
            return b""
        if code == ABNF.OPCODE_CLOSE:
            self._over.set()
        if code not in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) or not frame.data:
            return b""
        channel, data = frame.data[0], bytes(frame.data[1:])
        if channel == STDERR:
            self._stderr += data
            del self._stderr[:-STDERR_TAIL]
        elif channel == STATUS:
            self._status += data[:MOST_STATUS]
            self._over.set()  # the program has ended
        return data if channel == STDOUT else b""

    def kill(self) -> None:
        self._over.set()
        with contextlib.suppress(Exception):  # the API is away: the pod ends without its launcher
            self._end(True)
        self._shut()

    def close(self) -> None:
        with self._closing:
            if not self._told:
                self._ended_itself = self._over.is_set()
            if not self._told and not self._over.is_set():
                with contextlib.suppress(OSError):
                    self.send(self._farewell, END_SECONDS)
            self._told = True
            if self._patient:
                self._over.wait(END_SECONDS)
                self._over.set()
            if self._over.is_set() and not self._closed:
                self._closed = True
                if self._ended_itself:
                    self._words = self._why()  # while there is a pod to be asked
                self._shut()
                with contextlib.suppress(Exception):
                    self._end(False)

    def _shut(self) -> None:
        """Who receives in another thread hears of it."""
        inner = self._socket.sock
        if inner is not None:
            with contextlib.suppress(OSError):
                inner.shutdown(socket.SHUT_RDWR)
        self._socket.shutdown()

    @property
    def exit_code(self) -> int | None:
        """The program's, once its status came."""
        try:
            status = json.loads(self._status)
            if status["status"] == "Success":
                return 0
            causes = status["details"]["causes"]
            return next(int(each["message"]) for each in causes if each["reason"] == "ExitCode")
        except (ValueError, KeyError, TypeError, StopIteration):
            return None

    def last_words(self) -> str:
        words = [self._why() if self._words is None else self._words]
        if self.exit_code is None:  # else the message repeats the command
            with contextlib.suppress(ValueError, AttributeError):
                words.append(str(json.loads(self._status).get("message") or ""))
        words.append(last_lines(bytes(self._stderr).decode(errors="replace"), 20))
        return "\n".join(filter(None, words))
