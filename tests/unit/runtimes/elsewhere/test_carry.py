"""The stream of a sandbox, and the signs of its launcher."""

from __future__ import annotations

import os
import queue
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
    ends = (*os.pipe(), *os.pipe())
    yield ends[1], ends[0], ends[2], ends[3]
    for descriptor in ends:
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_frames_are_carried_until_the_launcher_is_gone(pipes) -> None:
    write, source, read, sink = pipes
    box = Sandbox()
    for data in (b"one", b"", b"two"):
        os.write(write, framed(data))
    os.close(write)
    assert carry(box, source, sink, 100) == "exit code 0 (its launcher is gone)"
    assert box.heard == b"onetwo" and os.read(read, 100) == b"onetwo"


def test_silence_ends_it_and_a_beat_is_none(pipes, monkeypatch) -> None:
    monkeypatch.setattr(carrying, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(carrying, "LEAVE_SECONDS", 0.0)
    write, source, _, sink = pipes
    os.write(write, framed(b""))
    words = carry(Sandbox(), source, sink, 0.03, leave=lambda code: None)
    assert words == "exit code 0 (its launcher said nothing for 0.03 s)"


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
