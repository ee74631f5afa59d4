"""The launcher's side of a sandbox's way out: a socket, and the proxy's process behind it.

The proxy parses what a sandbox sends, so it is a process of its own. Most sandboxes never ask for
anything, so it is started at the first connection. It ends when its stdin ends, by whatever death
of the launcher. A proxy that died is started again at the next connection.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import select
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from moat_nb.egress.options import ProxyOptions
from moat_nb.host.package import PACKAGE

__all__ = ["ProxyProcess", "command"]

END_SECONDS = 2.0
"""How long the proxy may take to end once its stdin did, before it is killed."""

PAUSE_SECONDS = 1.0
"""Between a proxy that died and the next: a sandbox may know how to have it die."""

LONGEST_LINE = 64 << 10
TAIL_LINES = 20

logger = logging.getLogger("moat_nb")


class ProxyProcess:
    """One sandbox's; it stands from its making to :meth:`close`.

    ``hear`` gets each line of the proxy's, a refusal or a failure, from a thread of its own.
    """

    def __init__(
        self,
        listener: socket.socket,
        options: ProxyOptions,
        hear: Callable[[dict[str, Any]], None],
    ) -> None:
        self._listener = listener
        self._options = options
        self._hear = hear
        self._command = command()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._ended, self._end = os.pipe()
        self._thread = threading.Thread(target=self._run, name="moat-proxy", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The proxy's, or None while there is none."""
        process = self._process
        return process.pid if process is not None else None

    def close(self) -> None:
        """End the proxy, and return when it has ended; harmless when closed already."""
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
                    logger.warning("the proxy of the sandbox's network does not start: %s", error)
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
        """Until a descriptor can be read from, or so many seconds; False once the proxy closed."""
        poll = select.poll()
        for descriptor in (self._ended, *descriptors):
            poll.register(descriptor, select.POLLIN)
        found = dict(poll.poll(None if seconds is None else seconds * 1000))
        return self._ended not in found

    def _start(self) -> subprocess.Popen[bytes] | None:
        """None once the proxy closed."""
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
                env={},  # the launcher's has secrets, and its order says all that is to be known
                start_new_session=True,
            )
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(self._options.line())
                process.stdin.flush()
        return process

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        """Read what it says to its end."""
        assert process.stdout is not None
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        with process.stdout as lines:
            while line := lines.readline(LONGEST_LINE):
                record = _record(line)
                if record is None:
                    tail.append(line.decode(errors="replace").rstrip())
                else:
                    self._tell(record)
        with self._lock:
            _close_stdin(process)
        code = process.wait()
        self._process = None
        if not self._closed:
            words = "\n".join(tail)
            logger.warning("the proxy of the sandbox's network ended (%d): %s", code, words)

    def _tell(self, record: dict[str, Any]) -> None:
        """Whatever a listener does: without this thread there would be no way out any more."""
        try:
            self._hear(record)
        except Exception:
            logger.exception("a listener for what the network refuses failed")


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _record(line: bytes) -> dict[str, Any] | None:
    """None for what is no record: a warning of python's, or a traceback."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


PACKAGES = ("h11", "aiohappyeyeballs", "cryptography", "_cffi_backend", "typing_extensions")
"""What the proxy imports beside the standard library and this package; the last two are
cryptography's. One that is not there is not needed, or was refused before."""


_PROGRAM = """\
import sys
home, *others = sys.argv[1:]
sys.path.insert(0, home)
import moat_nb
sys.path.remove(home)
sys.path += [home, *others]
from moat_nb.egress.proxy.__main__ import main
main()
"""
"""This package is the launcher's own, whatever else is installed; all other modules are looked for
in the interpreter's directories first. ``-I`` leaves out those of the user (``pip install
--user``) and of PYTHONPATH, so where the launcher found what is needed comes behind them."""


def command() -> list[str]:
    """To be started with an empty environment, in a directory that nobody can write to."""
    home = str(PACKAGE.parent)
    return [sys.executable, "-I", "-c", _PROGRAM, home, *_places()]


@functools.cache
def _places() -> tuple[str, ...]:
    """Looked up once, so that a file made later changes nothing for the sandboxes to come."""
    found = (spec.origin for name in PACKAGES if (spec := find_spec(name)) and spec.origin)
    modules = (Path(origin) for origin in found)
    places = (m.parent.parent if m.name == "__init__.py" else m.parent for m in modules)
    return tuple(dict.fromkeys(map(str, places)))
