"""A kernel's output in parts, with ipykernel's own thread and a client's socket."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import zmq
from ipykernel import iostream
from jupyter_client.session import Session

from moat_nb.guest.stream import PART, OutStream

WAIT = 60_000  # ms


@dataclass(frozen=True, kw_only=True)
class Wired:
    stream: OutStream
    client: zmq.Socket[bytes]
    session: Session

    def texts(self, characters: int) -> list[str]:
        """Of each message, once there are so many characters in all."""
        found: list[str] = []
        while sum(map(len, found)) < characters:
            assert self.client.poll(WAIT), f"nothing more than {found}"
            frames = self.session.feed_identities(self.client.recv_multipart())[1]
            message = self.session.deserialize(frames)
            if message["msg_type"] == "stream":
                found.append(message["content"]["text"])
        return found


@pytest.fixture
def wired() -> Iterator[Wired]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    out, client = context.socket(zmq.XPUB), context.socket(zmq.SUB)
    address = f"inproc://{id(out)}"
    out.bind(address)
    client.connect(address)
    client.subscribe(b"")
    session = Session(key=b"k")
    thread = iostream.IOPubThread(out)
    thread.start()
    stream = OutStream(session, thread, "stdout", watchfd=False)
    yield Wired(stream=stream, client=client, session=session)
    stream.close()
    thread.stop()
    context.destroy(linger=0)


def test_a_long_text_is_sent_in_parts(wired: Wired) -> None:
    text = "".join(chr(97 + number % 26) for number in range(2 * PART + 5))
    assert wired.stream.write(text) == len(text)
    wired.stream.flush()
    parts = wired.texts(len(text))
    assert [len(part) for part in parts] == [PART, PART, 5]
    assert "".join(parts) == text


def test_many_short_ones_are_sent_once_they_are_long_together(wired: Wired) -> None:
    line = "x" * 1023 + "\n"
    for _ in range(PART // len(line)):
        wired.stream.write(line)
    assert sum(map(len, wired.texts(PART))) == PART  # nobody has asked for it


def test_what_is_no_text_is_refused_as_ever(wired: Wired) -> None:
    for other in (5, b"x" * (PART + 1), None):
        with pytest.raises(TypeError, match="write\\(\\) argument must be str"):
            wired.stream.write(other)  # type: ignore[arg-type]


def test_it_looks_as_ipykernels_own() -> None:
    assert f"{OutStream.__module__}.{OutStream.__qualname__}" == "ipykernel.iostream.OutStream"
    assert sys.modules[OutStream.__module__] is iostream
