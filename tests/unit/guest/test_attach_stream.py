"""The attach stream, over pipes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from moat_nb.guest.attach_stream import AttachStream


@pytest.fixture
def ends() -> Iterator[tuple[AttachStream, int, int]]:
    """A stream, and what the launcher writes to and reads from."""
    (source, into), (out, sink) = os.pipe(), os.pipe()
    yield AttachStream(source, sink), into, out
    for descriptor in (source, out, sink):
        os.close(descriptor)


def test_lines_are_whole_whatever_pieces_they_come_in(ends: tuple[AttachStream, int, int]) -> None:
    stream, into, _ = ends
    assert stream.lines() == []
    for piece, lines in ((b"on", []), (b"e\ntwo\nth", [b"one", b"two"]), (b"ree\n", [b"three"])):
        os.write(into, piece)
        assert stream.lines() == lines
    os.close(into)
    assert stream.lines() is None


def test_a_message_is_sent_as_a_line(ends: tuple[AttachStream, int, int]) -> None:
    stream, into, out = ends
    os.close(into)
    stream.send("output", data="a\nb")
    sent = os.read(out, 100)
    assert sent.count(b"\n") == 1
    assert json.loads(sent) == {"type": "output", "data": "a\nb"}
