"""A process in the sandbox, as the launcher sees it: what it wrote, and how it ended, in words."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout  # not the built-in one before 3.11
from dataclasses import dataclass, field
from typing import Any, Protocol

from moat_nb.errors import SandboxGone
from moat_nb.guest import protocol
from moat_nb.text.terminal import last_lines, plain_lines

__all__ = ["Exit", "Output", "Process"]

STDERR = 2
STDERR_TAIL = 16 << 10
"""Bytes of a process's stderr that are kept for the words about its end."""
STDERR_LINES = 12
CRASH = "Fatal Python error:"
"""What Python's own report of a crash begins with; where it happened comes first in it."""

SIGNAL_SECONDS = 1.0
"""For a signal to be taken by the guest, which takes it at once unless it does not read."""
ANSWER_SECONDS = 4.0
"""For a guest to answer when a process of its is asked to end, before its sandbox is."""
KILL_SECONDS = 3.0
"""From a SIGKILL to the guest's word that the process has ended; then the sandbox is. A client of
Jupyter's has waited 5 s before it kills, and the whole of a shutdown takes no more than 10 s."""

Output = Callable[[int, bytes], None]
"""Called from the client's thread with the stream (1 or 2) and what was written to it; the sandbox
ends when it raises."""


@dataclass(frozen=True, kw_only=True)
class Exit:
    """How a process ended. ``code`` is as in :mod:`subprocess`: negative for a signal."""

    code: int
    oom: bool = False
    """The kernel killed it because the sandbox's memory limit was reached."""
    stderr: str = field(default="", compare=False)
    """The last lines of its stderr, fit for a terminal."""
    limits: str = field(default="", compare=False)
    """Which limits explain its end, and their keys, in words; empty for none."""

    @property
    def told(self) -> str:
        """How it ended, and what it wrote last."""
        return f"{self}; its last lines on stderr:\n{self.stderr}" if self.stderr else str(self)

    def __str__(self) -> str:
        if self.oom:
            words = "out of memory: the sandbox's memory limit (container.memory) was reached"
            return f"{words}; {self.limits}" if self.limits else words
        if self.code < 0:
            words = f"killed by {_signal_name(-self.code)}"
            return f"{words}: {self.limits}" if self.limits else words
        return f"exit code {self.code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Leader(Protocol):
    """What a process needs of the guest client that has it."""

    def send(
        self, kind: str, body: bytes | None = None, *, within: float | None = None, **fields: Any
    ) -> None: ...

    def abandon(self, reason: str) -> None: ...

    def must_answer(self, within: float) -> None: ...


class Process:
    """A process in the sandbox, led by the guest."""

    def __init__(self, guest: Leader, id: str, on_output: Output | None) -> None:
        self._guest = guest
        self.id = id
        self.on_output = on_output
        self.spawned: Future[int] = Future()
        self.exited: Future[Exit] = Future()
        self._stderr = bytearray()
        self._input_taken = threading.Semaphore(1)

    def poll(self) -> Exit | None:
        """How it ended, or None while it runs; never blocks."""
        return self.exited.result() if self.exited.done() else None

    def wait(self, timeout: float | None = None) -> Exit:
        return self.exited.result(timeout)

    def signal(self, signum: int) -> None:
        """Signal the whole process group; harmless when it has ended. SandboxGone when the guest
        is, or does not take it in a second."""
        if not self.exited.done():
            self._guest.send(protocol.SIGNAL, within=SIGNAL_SECONDS, id=self.id, signum=int(signum))

    def resize(self, rows: int, columns: int) -> None:
        """Of its terminal, where it has one."""
        if not self.exited.done():
            self._guest.send(protocol.RESIZE, id=self.id, rows=rows, columns=columns)

    def kill(self) -> None:
        """End it, and return when it has ended: with the whole sandbox, when the guest does not
        say so in KILL_SECONDS."""
        give_up = time.monotonic() + KILL_SECONDS
        with contextlib.suppress(SandboxGone):
            self.signal(signal.SIGKILL)
        try:
            self.exited.result(max(0.0, give_up - time.monotonic()))
        except FutureTimeout:
            self._guest.abandon(
                f"the guest did not end a process in {KILL_SECONDS:.0f} s, so it was ended"
            )

    def expect_end(self) -> None:
        """Returns at once, and has the sandbox ended if the guest does not answer soon: then it
        would not tell of the end either."""
        threading.Thread(
            target=self._guest.must_answer,
            args=(ANSWER_SECONDS,),
            name="moat-answer",
            daemon=True,
        ).start()

    def write(self, data: bytes | None) -> None:
        """Write to its stdin, at most 64 KiB a call, once the last piece was taken; None ends
        it. Returns at once when the process has ended."""
        while not self._input_taken.acquire(timeout=0.1):
            if self.exited.done():
                return
        self._guest.send(protocol.INPUT, data, id=self.id)

    def hear(self, stream: int, data: bytes) -> None:
        """What it wrote."""
        if stream == STDERR:
            self._stderr += data
            del self._stderr[:-STDERR_TAIL]
        if self.on_output is not None:
            self.on_output(stream, data)

    def ended(self, code: int, *, oom: bool = False, limits: str = "") -> None:
        if not self.spawned.done():
            self.spawned.set_exception(SandboxGone("the sandbox ended before the process began"))
        if not self.exited.done():
            words = _final_words(self._stderr.decode(errors="replace"))
            self.exited.set_result(Exit(code=code, oom=oom, stderr=words, limits=limits))


def _final_words(stderr: str) -> str:
    crash = stderr.rfind(CRASH)
    if crash < 0:
        return last_lines(stderr, STDERR_LINES)
    return "\n".join(plain_lines(stderr[crash:])[:STDERR_LINES])
