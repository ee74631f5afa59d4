"""A process of ours that serves sockets of the launcher's, started at the first connection.

What it reads is hostile, so it is no part of the launcher. It ends when its stdin ends, however the
launcher died; one that died is started again at the next connection.
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
from collections.abc import Callable, Sequence
from typing import Any

from moat_nb.text.terminal import LOGGER

__all__ = ["OnDemandProcess"]

END_SECONDS = 2.0
"""Between the end of the process's stdin and its kill."""

PAUSE_SECONDS = 1.0
"""Between a death and the next start: a sandbox may know how to crash it."""

LONGEST_LINE = 64 << 10
TAIL_LINES = 20


class OnDemandProcess:
    """Serves from the constructor to :meth:`close`, which closes ``listeners``, too.

    ``command`` is its argv and ``line`` the first of its stdin; it gets the listeners and the
    descriptors ``others``, which are closed with them, by their own numbers. ``on_record`` hears
    the JSON objects that it prints, from the thread named ``thread``; the log calls it ``what``.
    """

    def __init__(
        self,
        what: str,
        thread: str,
        command: Sequence[str],
        line: bytes,
        listeners: Sequence[socket.socket],
        *,
        others: Sequence[int] = (),
        on_record: Callable[[dict[str, Any]], None] = lambda record: None,
    ) -> None:
        self._what = what
        self._command = [*command]
        self._line = line
        self._listeners = tuple(listeners)
        self._others = tuple(others)
        self._on_record = on_record
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._ended, self._end = os.pipe()
        self._thread = threading.Thread(target=self._run, name=thread, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The process's pid, or None while none runs."""
        process = self._process
        return process.pid if process is not None else None

    def close(self) -> None:
        """End the process, and return when it has ended; a second call does nothing."""
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
            while self._wait(*self._numbers):
                try:
                    process = self._start()
                except OSError as error:  # no room for a process, now
                    LOGGER.warning("%s does not start: %s", self._what, error)
                else:
                    if process is None:
                        return
                    self._follow(process)
                if not self._wait(seconds=PAUSE_SECONDS):
                    return
        finally:
            for listener in self._listeners:
                # For the children of a launcher that forked, too: they have it open.
                with contextlib.suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
                listener.close()
            for descriptor in (self._ended, *self._others):
                os.close(descriptor)

    @property
    def _numbers(self) -> tuple[int, ...]:
        return tuple(listener.fileno() for listener in self._listeners)

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
                pass_fds=[*self._numbers, *self._others],
                cwd="/",
                env={},  # the launcher's has secrets, and the options say all that is needed
                start_new_session=True,
            )
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(self._line)
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
            LOGGER.warning("%s ended (%d): %s", self._what, code, output)

    def _notify(self, record: dict[str, Any]) -> None:
        """A listener's exception must not end this thread; it serves the process."""
        try:
            self._on_record(record)
        except Exception:
            LOGGER.exception("a listener for what %s says failed", self._what)


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
