"""The stream of a sandbox, and the signs of its launcher."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterator

import pytest

from moat_nb.runtimes.base import AttachStream
from moat_nb.runtimes.elsewhere import carry as carrying
from moat_nb.runtimes.elsewhere.carry import carry
from moat_nb.runtimes.elsewhere.frames import framed


class Sandbox(AttachStream):
    """Says what it hears, until it is closed."""

    def __init__(self) -> None:
        self.heard = b""
        self._said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.killed = False

    def send(self, data: bytes, timeout: float | None = None) -> None:
        self.heard += data
        self._said.put(data)

    def receive(self, timeout: float | None = None) -> bytes:
        return self._said.get(timeout=30)

    def close(self) -> None:
        self._said.put(b"")

    def kill(self) -> None:
        self.killed = True

    def last_words(self) -> str:
        return "exit code 0"


@pytest.fixture
def pipes() -> Iterator[tuple[int, int, int, int]]:
    """Of the launcher and of the sandbox's keeper: write, read, and the way back."""
    source, write = os.pipe()
    read, sink = os.pipe()
    kept = {end: os.fstat(end).st_ino for end in (write, source, read, sink)}

    def close(end: int) -> None:
        with contextlib.suppress(OSError):
            if os.fstat(end).st_ino == kept[end]:  # not another's by now
                os.close(end)

    yield write, source, read, sink
    close(write)
    for thread in threading.enumerate():
        if thread.name == "moat-carry":
            thread.join()  # or it would read what the next test writes
    for end in (source, read, sink):
        close(end)


def test_frames_are_carried_until_the_launcher_is_gone(pipes) -> None:
    write, source, read, sink = pipes
    box = Sandbox()
    for data in (b"one", b"", b"two"):
        os.write(write, framed(data))
    os.close(write)
    assert carry(box, source, sink, 100) == "exit code 0 (its launcher is gone)"
    assert box.heard == b"onetwo"
    assert os.read(read, 100) == framed(b"one") + framed(b"two")


class Clock:
    """Stands for ``select``: each step of ``steps`` is a tick of silence, or a beat."""

    def __init__(self, write: int, steps: str) -> None:
        self._write, self.steps = write, iter(steps)

    def select(self, source: list[int], *others: object) -> tuple[list[int], list[int], list[int]]:
        if next(self.steps) == "-":
            return [], [], []
        os.write(self._write, framed(b""))
        return source, [], []


def test_silence_ends_it_and_a_beat_puts_that_off(pipes, monkeypatch) -> None:
    monkeypatch.setattr(carrying, "LEAVE_SECONDS", 0.0)
    write, source, _, sink = pipes
    clock = Clock(write, "--b--b---and no further")
    monkeypatch.setattr(carrying, "select", clock)
    words = carry(Sandbox(), source, sink, 3 * carrying.TICK_SECONDS, leave=lambda code: None)
    assert words == "exit code 0 (its launcher said nothing for 15 s)"
    assert "".join(clock.steps) == "and no further"


def test_the_launcher_is_told_of_memory_before_of_the_death(pipes) -> None:
    write, source, read, sink = pipes

    class Short(Sandbox):
        def lacked_memory(self) -> bool:
            return self.heard.endswith(b"died")

    os.write(write, framed(b"died"))
    os.close(write)
    carry(Short(), source, sink, 100)
    assert os.read(read, 100) == framed(b"") + framed(b"died")


def test_a_launcher_that_reads_no_more_ends_it(pipes) -> None:
    write, source, read, sink = pipes
    os.close(read)
    box = Sandbox()
    os.write(write, framed(b"x"))
    os.close(write)
    carry(box, source, sink, 100)
    assert box.killed


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError("the sandbox does not read"), "exit code 0 (the sandbox does not read)"),
        (BrokenPipeError("the sandbox was closed"), "exit code 0"),
    ],
)
def test_a_sandbox_that_takes_nothing_is_ended(pipes, monkeypatch, error, words) -> None:
    monkeypatch.setattr(carrying, "LEAVE_SECONDS", 0.0)
    write, source, _, sink = pipes

    class Full(Sandbox):
        def send(self, data: bytes, timeout: float | None = None) -> None:
            assert timeout is not None
            raise error

    os.write(write, framed(b"x"))
    assert carry(Full(), source, sink, 100, leave=lambda code: None) == words
