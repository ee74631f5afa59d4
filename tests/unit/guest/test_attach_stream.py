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


def test_what_comes_is_told_in_whole_messages(ends: tuple[AttachStream, int, int]) -> None:
    stream, into, _ = ends
    assert stream.messages() == []
    os.write(into, b'{"type": "prove", "id": "1"}\n{"type"')
    assert stream.messages() == [{"type": "prove", "id": "1"}]
    os.write(into, b': "input", "size": 2}\n\n')
    assert stream.messages() == []
    os.write(into, b"\n")
    assert stream.messages() == [{"type": "input", "body": b"\n\n"}]
    os.close(into)
    assert stream.messages() is None


def test_a_message_is_sent_as_a_line(ends: tuple[AttachStream, int, int]) -> None:
    stream, into, out = ends
    os.close(into)
    stream.send("output", data="a\nb")
    sent = os.read(out, 100)
    assert sent.count(b"\n") == 1
    assert json.loads(sent) == {"type": "output", "data": "a\nb"}
