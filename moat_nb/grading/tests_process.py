"""The program that runs tests, in its sandbox: a line for each thing to do, question and answer.

It is a plain Python and no kernel, whose IPython and sockets would take most of a grade's time.
Lines are ASCII: ``0 [K, "run", [...]]`` is what to do, ``N TEXT`` asks and is answered by
``N TEXT``, ``. K`` says that it is done.
"""

from __future__ import annotations

import json
import queue
import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from moat_nb.errors import MoatError
from moat_nb.grading import inside
from moat_nb.sandbox.process import Process

__all__ = ["NO_ANSWER", "TestsProcess", "TookTooLong", "as_module"]

PIECE = 1 << 16
"""Bytes that the guest takes at once."""
LONGEST = 1 << 26
"""Bytes of one line of it."""
NO_ANSWER = "E"
"""What a text begins with that says why there is none."""
STOP_SECONDS = 5.0
"""From an interrupt to its end."""

Ask = Callable[[str], str]


class TookTooLong(MoatError):
    """It was interrupted, and can do something else."""


class TestsProcess:
    """``spawn`` is a sandbox's."""

    __test__ = False  # pytest takes it for a class of tests

    def __init__(self, spawn: Callable[..., Process]) -> None:
        self._said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        """Its lines; None where it has ended."""
        self._rest = bytearray()
        self._done = 0
        argv = ["python3", "-c", _program()]
        self._process = spawn(argv, stdin=True, on_output=self._hear)
        self._process.exited.add_done_callback(lambda _: self._said.put(None))

    def _hear(self, stream: int, data: bytes) -> None:
        if stream != 1:
            return
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._said.put((self._rest + end).decode("ascii", "replace"))
            self._rest.clear()
        self._rest += rest
        if len(self._rest) > LONGEST:
            raise ValueError("a line without end")

    def do(self, what: str, *args: Any, ask: Ask, seconds: float) -> None:
        """Call this method of the tester there; ``ask`` answers what it asks meanwhile.

        Raises TookTooLong, and MoatError when the process has ended.
        """
        self._done += 1
        self._write(0, json.dumps([self._done, what, args]))
        give_up, over = time.monotonic() + seconds, False
        while True:
            try:
                line = self._said.get(timeout=max(0.0, give_up - time.monotonic()))
            except queue.Empty:
                if over:
                    self._process.kill()
                    raise MoatError(f"it did not stop in {STOP_SECONDS:g} s") from None
                self._process.signal(signal.SIGINT)
                give_up, over = time.monotonic() + STOP_SECONDS, True
                continue
            if line is None:
                self._said.put(None)  # for what is asked of it next
                how = self._process.poll()
                raise MoatError(how.told if how is not None else "it has ended")
            number, _, text = line.partition(" ")
            if number != ".":
                self._write(int(number), f"{NO_ANSWER}it took too long" if over else ask(text))
            elif text == str(self._done):
                break
        if over:
            raise TookTooLong(f"it took longer than {seconds:g} s")

    def _write(self, number: int, text: str) -> None:
        line = " ".join(text.splitlines())  # words of a submission's may have more
        data = f"{number} {line}\n".encode("ascii", "backslashreplace")
        for at in range(0, len(data), PIECE):
            self._process.write(data[at : at + PIECE])


def as_module(name: str, file: str) -> str:
    """Code that makes one of ``inside`` a module there, where none of ours is installed."""
    text = Path(inside.__path__[0], file).read_text(encoding="utf-8") if file else ""
    return (
        "import sys, types\n"
        f"_moat_new = sys.modules[{name!r}] = types.ModuleType({name!r})\n"
        f"_moat_new.__package__ = {name.rpartition('.')[0]!r}\n"
        f"exec(compile({text!r}, {name!r}, 'exec'), _moat_new.__dict__)\n"
        "del _moat_new\n"
    )


@cache
def _program() -> str:
    return (
        as_module("_moat_values", "plain_values.py")
        + as_module("_moat_inside", "")
        + as_module("_moat_inside.remote", "remote.py")
        + as_module("_moat_inside.asking", "asking.py")
        + as_module("_moat_inside.tester", "tester.py")
        + "sys.modules['_moat_inside.tester'].serve(sys.modules['_moat_values'])\n"
    )
