"""Questions to our program on another machine, and what is believed of what comes back."""

from __future__ import annotations

import pytest

from moat_nb.errors import StartError
from moat_nb.runtimes.elsewhere.connection import MOST_NOISE, Connection, RemoteStream, idle, taken
from moat_nb.runtimes.elsewhere.frames import framed
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
    assert len(str(error.value)) < MOST_NOISE


def test_an_error_there_is_told_and_the_next_question_answered(connect: Connect) -> None:
    connection = connect()
    for name in ("../x", "moat", "/etc", "moat-../x"):
        with pytest.raises(StartError, match="is no name of a copy"):
            connection.ask("make", name=name, token="t")
    assert connection.ask("in_use", name="moat.workspace.x") is False


def test_a_connection_waits_for_the_next_question_unless_one_failed(
    there: dict[str, str],
) -> None:
    script = "n=0; printf 'moat-nb:start\\n'; printf '\\0\\0\\0\\014{\"value\": 7}'; cat"
    argv = ("sh", "-c", script)
    with idle(argv, there, "there") as first:
        assert first.ask("facts") == 7
    again = taken(argv, there, "there")
    assert again is first
    again.close()
    with pytest.raises(ZeroDivisionError), idle(argv, there, "there"):
        raise ZeroDivisionError
    other = taken(argv, there, "there")
    assert isinstance(other, Connection) and other.ask("facts") == 7
    other.close()


def test_a_beat_that_had_to_wait_is_not_the_last_one() -> None:
    """The pipe is full at first, so that no beat finds room."""
    stream = RemoteStream(spawn(["sh", "-c", "sleep 1; exec cat"], {"PATH": "/usr/bin:/bin"}))
    try:
        full = b"x" * (64 << 10)
        stream.send_as_it_is(full)
        stream.begin(b"", 0.05)
        came = b""
        while len(came) < len(full) + 8:
            came += stream.receive(60)
        assert came.startswith(full + framed(b"") + framed(b""))
    finally:
        stream.kill()
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
