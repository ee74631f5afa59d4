"""The attach stream over a child's pipes, with programs that every machine has."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import pytest

from moat_nb.errors import StartError
from moat_nb.runtimes.pipes import STDERR_TAIL, PipeStream, spawn

Open = Callable[..., PipeStream]


@pytest.fixture
def opened() -> Iterator[Open]:
    streams = []

    def open_(*argv: str) -> PipeStream:
        streams.append(PipeStream(spawn(argv, {"PATH": os.environ["PATH"]})))
        return streams[-1]

    yield open_
    for stream in streams:
        stream.close()


def test_bytes_go_both_ways_until_the_stream_is_closed(opened: Open) -> None:
    stream = opened("cat")
    stream.send(b"hello")
    assert stream.receive() == b"hello"
    stream.close()
    assert stream.receive() == b""
    with pytest.raises(BrokenPipeError, match="the sandbox was closed"):
        stream.send(b"more")


def test_the_last_words_are_the_end_and_the_tail_of_stderr(opened: Open) -> None:
    assert opened("sh", "-c", "echo why >&2; exit 3").last_words() == "exit code 3: why"
    assert opened("sh", "-c", "kill -9 $$").last_words() == "killed by signal 9"
    write = f"import sys; sys.stderr.write('x' * {2 * STDERR_TAIL} + 'end')"
    words = opened(sys.executable, "-c", write).last_words()
    assert words == "exit code 0: " + "x" * (STDERR_TAIL - 3) + "end"


def test_a_program_that_is_not_there_is_an_error_of_the_start() -> None:
    with pytest.raises(StartError, match="no-such-program"):
        spawn(["/no-such-program"], {})
