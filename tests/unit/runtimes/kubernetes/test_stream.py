"""The stream of an exec, by the client's own websocket."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from moat_nb.config.model import ClusterOptions
from moat_nb.runtimes.kubernetes.cluster import Cluster
from moat_nb.runtimes.kubernetes.stream import PIECE, PodStream
from tests.unit.runtimes.kubernetes.api import Api


class Ended:
    def __init__(self) -> None:
        self.calls: list[bool] = []


@pytest.fixture
def ended() -> Ended:
    return Ended()


@pytest.fixture
def stream(api: Api, tmp_path: Path, ended: Ended) -> PodStream:
    client = Cluster(ClusterOptions(), api.config(tmp_path)).run("p", "kernel", ("a", "b"))
    return PodStream(client, b"exit", ended.calls.append, lambda: "why")


def test_what_is_sent_comes_back_whatever_its_size(api: Api, stream: PodStream) -> None:
    sent = bytes(range(256)) * (PIECE // 100)
    stream.send(sent)
    came = b""
    while len(came) < len(sent):
        came += stream.receive(10)
    assert came == sent
    assert api.asked == [("EXEC", "/api/v1/namespaces/default/pods/p/exec", ["a", "b"])]
    stream.kill()


def test_a_program_that_ends_says_how(stream: PodStream, ended: Ended) -> None:
    stream.send(b"err")
    stream.send(b"exit")
    assert stream.receive(10) == b"" and stream.exit_code == 3
    stream.close()
    stream.close()
    assert stream.last_words() == "why\nwrong" and ended.calls == [False]
    with pytest.raises(BrokenPipeError):
        stream.send(b"more")


def test_silence_is_a_time_that_ran_out(stream: PodStream) -> None:
    with pytest.raises(TimeoutError):
        stream.receive(0.01)
    stream.kill()


def test_its_end_is_told_to_who_reads_in_another_thread(stream: PodStream, ended: Ended) -> None:
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(stream.receive()))
    reader.start()
    stream.close()  # by its farewell
    reader.join(60)
    assert heard == [b""] and stream.exit_code == 3 and ended.calls == [False]


def test_one_that_is_killed_ends_for_its_reader(stream: PodStream, ended: Ended) -> None:
    reader = threading.Thread(target=stream.receive)
    reader.start()
    stream.kill()
    reader.join(60)
    assert not reader.is_alive() and ended.calls == [True] and stream.exit_code is None


def test_who_does_not_read_is_killed_in_time(stream: PodStream, ended: Ended) -> None:
    stream.send(b"deaf")
    with pytest.raises((TimeoutError, BrokenPipeError)):
        while True:
            stream.send(bytes(PIECE), 0.5)
    stream.kill()
    assert ended.calls[0] is True
