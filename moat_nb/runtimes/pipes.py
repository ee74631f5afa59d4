"""An attach stream over the pipes of a child process: bubblewrap, and Apple's ``container run``."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from moat_nb.errors import StartError
from moat_nb.runtimes.base import AttachStream

__all__ = ["PipeStream", "memory_file", "ready", "spawn"]

STDERR_TAIL = 64 << 10
"""Bytes of stderr that are kept for last_words; an engine's error is a few lines."""

GRACE_SECONDS = 3.0
"""How long a guest may take to end its kernels once its stdin ended, before it is killed."""

KILLED_SECONDS = 3.0
"""For a process that was sent SIGKILL to end: one in a frozen cgroup, or one that waits for a disk,
does so when it can."""

_CHUNK = 64 << 10


class PipeStream(AttachStream):
    """The attach stream over a child started by :func:`spawn`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        self._sending = threading.Lock()
        self._receiving = threading.Lock()
        self._tail = bytearray()
        self._drain = threading.Thread(target=self._drain_stderr, name="moat-stderr", daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, data: bytes, timeout: float | None = None) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with self._sending:
            if stdin.closed:
                raise BrokenPipeError("the sandbox was closed")
            rest = memoryview(data)
            give_up = None if timeout is None else time.monotonic() + timeout
            while rest:
                if not ready(stdin.fileno(), select.POLLOUT, give_up):
                    if len(rest) < len(data):
                        self.kill()
                    raise TimeoutError("the sandbox does not read")
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(stdin.fileno(), rest) :]

    def receive(self, timeout: float | None = None) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        give_up = None if timeout is None else time.monotonic() + timeout
        with self._receiving:
            if stdout.closed:
                return b""
            if not ready(stdout.fileno(), select.POLLIN, give_up):
                raise TimeoutError("the sandbox says nothing")
            return os.read(stdout.fileno(), _CHUNK)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        # A send that is blocked on a full pipe holds the lock until the process is killed below.
        if self._sending.acquire(timeout=GRACE_SECONDS):
            self._close_stdin()
            self._sending.release()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_SECONDS)
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILLED_SECONDS)
        if self._sending.acquire(timeout=KILLED_SECONDS):
            self._close_stdin()
            self._sending.release()
        self._drain.join(1)
        # A receive that is still blocked reads from a stranger that inherited the pipe.
        if self._receiving.acquire(timeout=1):
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._receiving.release()

    def last_words(self) -> str:
        try:
            # The end of stdout, which callers wait for, comes an instant before the exit code.
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            ended = "still running"
        else:
            self._drain.join(1)
            ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        words = bytes(self._tail).decode(errors="replace").strip()
        return f"{ended}: {words}" if words else ended

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    @property
    def errors(self) -> bytes:
        """The tail of its stderr so far."""
        return bytes(self._tail)

    def end_input(self) -> None:
        """Nothing more is sent: it ends when it has done what it was sent."""
        with self._sending:
            self._close_stdin()

    def _close_stdin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _drain_stderr(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            while chunk := os.read(stderr.fileno(), _CHUNK):
                self._tail += chunk
                del self._tail[:-STDERR_TAIL]


def ready(descriptor: int, event: int, give_up: float | None) -> bool:
    """Whether ``event``, or an end or an error, comes until the monotonic clock is at ``give_up``;
    looks once when that has passed. BrokenPipeError where ``descriptor`` is that of what another
    thread has closed."""
    if descriptor < 0:
        raise BrokenPipeError("the sandbox was closed")
    poll = select.poll()
    poll.register(descriptor, event)
    left = None if give_up is None else max(0.0, give_up - time.monotonic()) * 1000
    return bool(poll.poll(left))


def spawn(
    argv: Sequence[str], env: Mapping[str, str], pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start ``argv`` with pipes for all three streams, from a thread that never ends.

    bubblewrap's ``--die-with-parent`` asks the kernel for a signal when its parent dies, and to
    the kernel the parent is the *thread* that forked: a sandbox started from a short-lived
    thread would die with it. Raises StartError when ``argv[0]`` cannot be run.
    """
    options = {"env": dict(env), "pass_fds": tuple(pass_fds), "cwd": "/", "bufsize": 0}
    # A Ctrl-C at the launcher's terminal is the launcher's to pass on, not the sandbox's end.
    options["start_new_session"] = True
    done: Future[subprocess.Popen[bytes]] = Future()
    _spawner().requests.put((list(argv), options, done))
    try:
        return done.result()
    except OSError as error:
        raise StartError(f"{argv[0]}: cannot be run: {error.strerror}") from error


def memory_file(stack: contextlib.ExitStack, data: bytes) -> str:
    """A descriptor, of a file that exists in memory only."""
    fd = os.memfd_create("moat")
    stack.callback(os.close, fd)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return str(fd)


class _Spawner:
    def __init__(self) -> None:
        self.requests: queue.SimpleQueue[
            tuple[list[str], dict[str, Any], Future[subprocess.Popen[bytes]]]
        ] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="moat-spawner", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            _start(*self.requests.get())


def _start(argv: list[str], options: dict[str, Any], done: Future[subprocess.Popen[bytes]]) -> None:
    pipe = subprocess.PIPE
    try:
        done.set_result(subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, **options))
    except BaseException as error:
        done.set_exception(error)


_lock = threading.Lock()
_current: _Spawner | None = None


def _spawner() -> _Spawner:
    global _current  # noqa: PLW0603 - one thread a process; a forked child has lost its parent's
    with _lock:
        if _current is None or not _current.thread.is_alive():
            _current = _Spawner()
        return _current
