"""`%moat run -- CMD`: a command in the sandbox, with its output as it comes."""

from __future__ import annotations

import codecs
import queue
import signal
import sys
import threading
from collections.abc import Sequence

from moat_nb.errors import CommandError, SandboxGone
from moat_nb.sandbox.guest_client import Exit
from moat_nb.sandbox.sandbox import Sandbox
from moat_nb.text.tables import amount
from moat_nb.text.terminal import for_terminal, printable

__all__ = ["Pieces", "notify", "run_command"]

INTERRUPT_SECONDS = 0.2
"""Between two polls of a running command; Ctrl-C is noticed in between."""

MAX_WAITING = 16 << 20
"""Bytes that may wait to be shown."""


def notify(text: str) -> None:
    print(f"moat: {printable(text)}", file=sys.stderr, flush=True)


class Pieces:
    """A queue of output to show. Output beyond MAX_WAITING is dropped, and its bytes counted in
    ``lost``: ``put`` must not wait, or it would delay all other messages of the sandbox."""

    def __init__(self) -> None:
        self.lost = 0
        self._waiting = 0
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()

    def put(self, stream: int, data: bytes) -> None:
        with self._lock:
            if self._waiting + len(data) > MAX_WAITING:
                self.lost += len(data)
                return
            self._waiting += len(data)
        self._queue.put((stream, data))

    def get(self, timeout: float) -> tuple[int, bytes]:
        """Raises queue.Empty."""
        stream, data = self._queue.get(timeout=timeout)
        with self._lock:
            self._waiting -= len(data)
        return stream, data


def run_command(sandbox: Sandbox, command: Sequence[str]) -> None:
    """Run it and show its output as it comes; an interrupt goes to it, a second one kills it."""
    pieces = Pieces()

    def on_refusal(text: str) -> None:
        pieces.put(2, f"moat: {text}\n".encode())

    with sandbox.refusals(on_refusal):
        _follow(sandbox, command, pieces)


def _follow(sandbox: Sandbox, command: Sequence[str], pieces: Pieces) -> None:
    process = sandbox.spawn(command, on_output=pieces.put)
    decoders = {n: codecs.getincrementaldecoder("utf-8")("replace") for n in (1, 2)}
    interrupts = 0
    while True:
        ended = process.poll() is not None
        try:
            stream, data = pieces.get(timeout=0 if ended else INTERRUPT_SECONDS)
            text = for_terminal(decoders[stream].decode(data))
            print(text, end="", file=sys.stdout if stream == 1 else sys.stderr, flush=True)
        except queue.Empty:
            if ended:
                break
        except KeyboardInterrupt:
            interrupts += 1
            process.signal(signal.SIGINT if interrupts == 1 else signal.SIGKILL)
    if pieces.lost:
        notify(
            f"{amount(pieces.lost)} of output came faster than it can be shown, and were left out"
        )
    _judge(sandbox, command, process.wait(), interrupted=interrupts > 0)


def _judge(sandbox: Sandbox, command: Sequence[str], end: Exit, *, interrupted: bool) -> None:
    if interrupted:
        raise KeyboardInterrupt
    if sandbox.gone is not None:
        raise SandboxGone(sandbox.gone)
    if end.code != 0:
        raise CommandError(command, end.code, how=str(end))
