"""Questions to our program on another machine, and what is believed of what comes back."""

from __future__ import annotations

import contextlib
import time

import pytest

from moat_nb.errors import StartError
from moat_nb.runtimes.elsewhere.connection import RemoteStream, idle, taken
from moat_nb.runtimes.elsewhere.frames import HEADER, framed
from moat_nb.runtimes.pipes import spawn
from tests.unit.runtimes.elsewhere.conftest import Connect


def test_it_is_asked_whatever_a_login_shell_prints_before(connect: Connect) -> None:
    connection = connect("echo; echo Welcome to gpu; printf no-newline; PROGRAM")
    facts = connection.ask("facts")
    assert facts["memory"] > 1 << 20 and len(facts["user"]) == 2
    assert connection.ask("token", name="moat.workspace.x") is None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo no way >&2; exit 3", "there: exit code 3: no way"),
        ("echo moat-nb:what", "there: our program there said b'what'"),
        ("yes", "there: its shell prints without an end"),
        ("printf 'moat-nb:start\\n\\377\\377\\377\\377'; cat", "a frame of 4294967295 bytes"),
        ("printf 'moat-nb:start\\n\\0\\0\\0\\2no'; cat", "there: its answer is none"),
        ("printf 'moat-nb:start\\n\\0\\0\\0\\2[]'; cat", "there: its answer is none"),
        ("printf 'moat-nb:start\\n\\0'", "there: exit code 0"),
    ],
)
def test_what_is_no_answer_of_ours_ends_it_in_words(
    connect: Connect, script: str, words: str
) -> None:
    with pytest.raises(StartError) as error:
        connect(script).ask("facts")
    assert words in str(error.value)
    assert len(str(error.value)) < 300


def test_an_error_there_is_told_and_the_next_question_answered(connect: Connect) -> None:
    connection = connect()
    for name in ("../x", "moat", "/etc", "moat-../x"):
        with pytest.raises(StartError, match="is no name of a copy"):
            connection.ask("make", name=name, token="t")
    assert connection.ask("in_use", name="moat.workspace.x") is False


def test_a_connection_waits_for_the_next_question_unless_one_failed(
    there: dict[str, str],
) -> None:
    script = "printf 'moat-nb:start\\n'; printf '\\0\\0\\0\\014{\"value\": 7}'; cat"
    argv = ("sh", "-c", script)
    with idle(argv, there, "there") as first:
        assert first.ask("facts") == 7
    again = taken(argv, there, "there")
    assert again is first
    again.close()
    with pytest.raises(ZeroDivisionError), idle(argv, there, "there") as failed:
        raise ZeroDivisionError
    other = taken(argv, there, "there")
    assert other is not failed and other.ask("facts") == 7
    other.close()


def test_one_that_ended_or_that_another_environment_made_is_not_taken(
    there: dict[str, str],
) -> None:
    argv = ("sh", "-c", "printf 'moat-nb:start\\n'; printf '\\0\\0\\0\\014{\"value\": 7}'; cat")
    with idle(argv, there, "there") as first:
        first.ask("facts")
    other = taken(argv, {**there, "SSH_AUTH_SOCK": "/other"}, "there")
    assert other is not first
    other.close()
    first.stream.kill()
    while first.stream.runs:
        time.sleep(0.01)
    again = taken(argv, there, "there")
    assert again is not first
    again.close()


def test_a_beat_that_had_to_wait_is_not_the_last_one() -> None:
    """The pipe is full at first, so that no beat finds room."""
    stream = RemoteStream(spawn(["sh", "-c", "sleep 1; exec cat"], {"PATH": "/usr/bin:/bin"}))
    try:
        full = framed(b"x" * ((64 << 10) - HEADER))
        stream.send_as_it_is(full)
        stream.begin(b"", 0.05)
        assert stream.receive(60) == full[HEADER:]
        # cat sends back the beats, which mean a lack of memory on the way here.
        while not beaten(stream):
            pass
    finally:
        stream.kill()
        stream.close()


def beaten(stream: RemoteStream) -> bool:
    with contextlib.suppress(TimeoutError):
        stream.receive(0.1)
    return stream.lacked_memory()


def test_what_came_too_long_ends_the_stream() -> None:
    stream = RemoteStream(spawn(["sleep", "100"], {"PATH": "/usr/bin:/bin"}))
    stream.begin(b"\xff" * 4, 10)
    assert stream.receive(60) == b""
    stream.close()


def test_what_went_wrong_there_is_told_in_one_line_of_some_length(connect: Connect) -> None:
    script = "PROGRAM"
    with pytest.raises(StartError) as error:
        connect(script).ask("token", name="\n".join(["x"] * 9000))
    assert len(str(error.value)) < 3000 and "\n" not in str(error.value)


def test_nobody_but_srun_waits_in_a_queue(connect: Connect, monkeypatch) -> None:
    monkeypatch.setattr("moat_nb.runtimes.elsewhere.connection.START_SECONDS", 0.5)
    with pytest.raises(StartError, match="it does not answer"):
        connect("echo srun: job 7 queued and waiting for resources >&2; exec sleep 100")
