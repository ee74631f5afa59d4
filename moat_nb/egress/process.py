"""Starts and follows the proxy's process, which serves a sandbox's socket.

The proxy parses a sandbox's bytes, so it is a process of its own. Most sandboxes make no request,
so it starts at the first connection. It ends when its stdin ends, however the launcher died. A
proxy that died is started again at the next connection.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from moat_nb.egress.options import ProxyOptions
from moat_nb.host import isolated_python
from moat_nb.text.terminal import LOGGER

__all__ = ["ProxyProcess", "command"]

END_SECONDS = 2.0
"""Between the end of the proxy's stdin and its kill."""

PAUSE_SECONDS = 1.0
"""Between a proxy's death and the next start: a sandbox may know how to crash it."""

LONGEST_LINE = 64 << 10
TAIL_LINES = 20


class ProxyProcess:
    """One sandbox's proxy, served from the constructor to :meth:`close`.

    ``on_event`` gets each refusal and failure of the proxy, from a thread of its own.
    """

    def __init__(
        self,
        listener: socket.socket,
        options: ProxyOptions,
        on_event: Callable[[dict[str, Any]], None],
    ) -> None:
        self._listener = listener
        self._options = options
        self._on_event = on_event
        self._command = command()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._ended, self._end = os.pipe()
        self._thread = threading.Thread(target=self._run, name="moat-proxy", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The proxy's pid, or None while none runs."""
        process = self._process
        return process.pid if process is not None else None

    def close(self) -> None:
        """End the proxy, and return when it has ended; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.close(self._end)
            if self._process is not None:
                _close_stdin(self._process)
        self._thread.join(timeout=END_SECONDS)
        process = self._process
        if self._thread.is_alive() and process is not None:
            process.kill()
            self._thread.join(timeout=END_SECONDS)

    # -------- its thread

    def _run(self) -> None:
        try:
            while self._wait(self._listener.fileno()):
                try:
                    process = self._start()
                except OSError as error:  # no room for a process, now
                    LOGGER.warning("the proxy of the sandbox's network does not start: %s", error)
                else:
                    if process is None:
                        return
                    self._follow(process)
                if not self._wait(seconds=PAUSE_SECONDS):
                    return
        finally:
            self._listener.close()
            os.close(self._ended)

    def _wait(self, *descriptors: int, seconds: float | None = None) -> bool:
        """Wait until a descriptor is readable, or for ``seconds``; False once closed."""
        poll = select.poll()
        for descriptor in (self._ended, *descriptors):
            poll.register(descriptor, select.POLLIN)
        readable = dict(poll.poll(None if seconds is None else seconds * 1000))
        return self._ended not in readable

    def _start(self) -> subprocess.Popen[bytes] | None:
        """None once closed."""
        with self._lock:
            if self._closed:
                return None
            process = self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[self._listener.fileno()],
                cwd="/",
                env={},  # the launcher's has secrets, and the options say all that is needed
                start_new_session=True,
            )
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(self._options.line())
                process.stdin.flush()
        return process

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        """Read the process's output until it ends."""
        assert process.stdout is not None
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        with process.stdout as lines:
            while line := lines.readline(LONGEST_LINE):
                record = _record(line)
                if record is None:
                    tail.append(line.decode(errors="replace").rstrip())
                else:
                    self._notify(record)
        with self._lock:
            _close_stdin(process)
        code = process.wait()
        self._process = None
        if not self._closed:
            output = "\n".join(tail)
            LOGGER.warning("the proxy of the sandbox's network ended (%d): %s", code, output)

    def _notify(self, record: dict[str, Any]) -> None:
        """A listener's exception must not end this thread; it serves the proxy."""
        try:
            self._on_event(record)
        except Exception:
            LOGGER.exception("a listener for what the network refuses failed")


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _record(line: bytes) -> dict[str, Any] | None:
    """None for other output: a warning of python's, or a traceback."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


PACKAGES = ("h11", "aiohappyeyeballs", "cryptography", "_cffi_backend", "typing_extensions")
"""The proxy's imports beside the standard library and this package; the last two are
cryptography's. A missing one is not needed, or was refused before."""


def command() -> list[str]:
    """The proxy's argv."""
    return isolated_python.command("moat_nb.egress.proxy.__main__", PACKAGES)
