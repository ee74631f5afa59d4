"""Child processes of a guest that is run for real."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.guest.running import (
    Guest,
    Start,
)

pytestmark = pytest.mark.machine  # a guest is the first process of a namespace


PIECE = 64 << 10


def test_output_is_passed_on_byte_for_byte(guest: Guest) -> None:
    script = "import os; os.write(1, bytes(range(256))); os.write(2, b'err\\0\\xff'); exit(7)"
    id = guest.spawn([sys.executable, "-c", script])
    assert guest.finish(id) == (7, None)
    assert guest.outputs[id] == {1: bytes(range(256)), 2: b"err\0\xff"}


def test_fifty_megabytes_are_passed_on_whole(guest: Guest) -> None:
    block = bytes(range(256)) * 4000
    script = "import sys; [sys.stdout.buffer.write(bytes(range(256)) * 4000) for _ in range(50)]"
    id = guest.spawn([sys.executable, "-c", script])
    assert guest.finish(id) == (0, None)
    received = hashlib.sha256(guest.outputs[id][1]).hexdigest()
    assert received == hashlib.sha256(block * 50).hexdigest()


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("exit 0", (0, None)),
        ("exit 255", (255, None)),
        ("kill -KILL $$", (None, signal.SIGKILL)),
        ("kill -TERM $$", (None, signal.SIGTERM)),
        ("kill -SEGV $$", (None, signal.SIGSEGV)),
    ],
)
def test_how_a_process_ended_is_told(
    guest: Guest, script: str, end: tuple[int | None, int | None]
) -> None:
    assert guest.finish(guest.spawn(["sh", "-c", script])) == end


def test_a_signal_reaches_the_whole_group_and_nothing_beside_it(guest: Guest) -> None:
    other = guest.spawn(["sleep", "1000"])
    script = "sleep 1000 & sh -c 'sleep 1000 & wait' & echo up; wait"
    id = guest.spawn(["sh", "-c", script])
    deadline = time.monotonic() + 60
    while guest.processes().count("S (sleep)") < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    guest.tell("signal", id=id, signum=int(signal.SIGTERM))
    assert guest.finish(id) == (None, signal.SIGTERM)
    while guest.processes() != ["S (sleep)"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert guest.processes() == ["S (sleep)"]
    guest.tell("signal", id=other, signum=int(signal.SIGKILL))
    assert guest.finish(other) == (None, signal.SIGKILL)


def test_a_signal_to_what_has_ended_or_that_is_none_does_no_harm(guest: Guest) -> None:
    id = guest.spawn(["true"])
    guest.finish(id)
    guest.tell("signal", id=id, signum=9)
    guest.tell("signal", id="never", signum=9)
    running = guest.spawn(["sleep", "1000"])
    guest.tell("signal", id=running, signum=4711)
    assert guest.run("echo still here") == "still here\n"


def test_a_process_starts_with_default_signals_in_its_own_session(guest: Guest) -> None:
    script = (
        "import os; print(os.getsid(0) == os.getpid() == os.getpgid(0));"
        "[print(l.split()[1]) for l in open('/proc/self/status') if l[:6] in ('SigIgn', 'SigBlk')]"
    )
    # A python that is started with these ignored shows them; its own two it sets afterwards.
    shell = "grep -E 'SigIgn|SigBlk' /proc/self/status"
    masks = [int(mask, 16) for mask in re.findall(r"[0-9a-f]{16}", guest.run(shell))]
    # 32 and 33 are the C library's own, which nobody can set: make leaves 32 ignored.
    assert [mask & ~(0b11 << 31) for mask in masks] == [0, 0]
    assert guest.run(f"{sys.executable} -c {shlex.quote(script)}").startswith("False")
    id = guest.spawn([sys.executable, "-c", script])
    guest.finish(id)
    assert bytes(guest.outputs[id][1]).startswith(b"True")


def test_a_process_holds_no_descriptor_of_the_guests(guest: Guest) -> None:
    id = guest.spawn([sys.executable, "-c", "import os; print(os.listdir('/proc/self/fd'))"])
    guest.finish(id)
    assert ast.literal_eval(bytes(guest.outputs[id][1]).decode()) == ["0", "1", "2", "3"]


def test_env_is_added_to_the_sandboxs_and_cwd_is_where_it_was_asked_for(
    guest: Guest, tmp_path: Path
) -> None:
    (tmp_path / "below").mkdir()
    told = guest.run("pwd; echo $A $HOME", env={"A": "ü b"}, cwd=f"{tmp_path}/below")
    assert told == f"{tmp_path}/below\nü b {tmp_path}\n"


@pytest.mark.parametrize(
    ("argv", "fields", "error"),
    [
        (["no-such-program"], {}, "No such file or directory: no-such-program"),
        (["/etc/passwd"], {}, "Permission denied: /etc/passwd"),
        ([], {}, "Invalid argument: no command was given"),
        (["echo", "a\0b"], {}, "Invalid argument: echo"),
        (["echo"], {"env": {"A=B": "c"}}, "Invalid argument: echo"),
        (["echo"], {"env": {"A": "\0"}}, "Invalid argument: echo"),
        (["echo"], {"cwd": "/nope"}, "No such file or directory: the working directory /nope"),
        (["echo"], {"cwd": "/etc/passwd"}, "Not a directory: the working directory /etc/passwd"),
        (["echo"], {"cwd": "a\0b"}, "Invalid argument: the working directory a\0b"),
        (["echo"], {"connection": {}, "env": {"HOME": "/proc"}}, "No such file or directory"),
    ],
)
def test_what_cannot_be_started_is_told_in_words_and_the_guest_lives_on(
    guest: Guest, argv: list[str], fields: dict[str, Any], error: str
) -> None:
    assert error in guest.refusal(argv, **fields)
    assert guest.run("echo on") == "on\n"


def test_input_reaches_a_process_and_its_end_too(guest: Guest) -> None:
    id = guest.spawn(["cat"], stdin=True)
    guest.tell("input", b"a\0b\n", id=id)
    guest.hear("input_taken", id)
    guest.tell("input", id=id)
    assert guest.finish(id) == (0, None)
    assert guest.outputs[id][1] == b"a\0b\n"


def test_without_stdin_a_process_reads_nothing(guest: Guest) -> None:
    assert guest.run("cat") == ""


def test_ten_megabytes_of_input_arrive_whole(guest: Guest) -> None:
    data = os.urandom(10 << 20)
    id = guest.spawn(["sha256sum"], stdin=True)
    for offset in range(0, len(data), PIECE):
        piece = data[offset : offset + PIECE]
        guest.tell("input", piece, id=id)
        guest.hear("input_taken", id)
    guest.tell("input", id=id)
    assert guest.finish(id) == (0, None)
    assert guest.outputs[id][1].split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_input_that_is_not_read_is_not_taken_and_holds_nothing_else_up(guest: Guest) -> None:
    script = "trap 'exec cat' USR1; echo up; while :; do sleep 0.05; done"
    id = guest.spawn(["sh", "-c", script], stdin=True)
    while b"up\n" not in guest.outputs[id][1]:
        guest.tell("usage", id="up")
        guest.hear("usage", "up")
    piece = b"x" * PIECE
    guest.tell("input", piece, id=id)
    guest.hear("input_taken", id)  # a pipe's worth
    guest.tell("input", piece, id=id)
    guest.tell("usage", id="u")
    guest.hear("usage", "u")
    assert guest.heard == []
    guest.tell("signal", id=id, signum=int(signal.SIGUSR1))
    guest.hear("input_taken", id)
    guest.tell("input", id=id)
    assert guest.finish(id) == (0, None)
    assert guest.outputs[id][1].count(b"x") == 2 * PIECE


def test_input_to_a_process_that_reads_none_of_it_ends_with_the_process(guest: Guest) -> None:
    id = guest.spawn(["sh", "-c", "exec 0<&-; sleep 0.2; exit 4"], stdin=True)
    for _ in range(20):
        guest.tell("input", b"x" * PIECE, id=id)
    assert guest.finish(id) == (4, None)
    guest.tell("input", b"x", id=id)
    assert guest.run("echo on") == "on\n"


def test_nothing_that_ended_stays_a_zombie(guest: Guest) -> None:
    for id in [guest.spawn(["sh", "-c", "sleep 0.01 & exit 0"]) for _ in range(20)]:
        guest.finish(id)
    deadline = time.monotonic() + 60
    while (left := guest.processes()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == []


def test_a_daemon_that_keeps_the_pipes_open_does_not_delay_the_exit(guest: Guest) -> None:
    script = "setsid sleep 1000 & echo said; exit 3"
    id = guest.spawn(["sh", "-c", script])
    assert guest.finish(id) == (3, None)
    assert guest.outputs[id][1] == b"said\n"


def test_a_daemon_that_writes_without_end_does_not_delay_the_exit(guest: Guest) -> None:
    id = guest.spawn(["sh", "-c", "yes & yes & yes & exit 5"])
    assert guest.finish(id) == (5, None)
    assert guest.run("echo on") == "on\n"


def test_a_thousand_processes_leak_no_descriptor(guest: Guest) -> None:
    before = guest.open_descriptors()
    for _ in range(1000):
        guest.finish(guest.spawn(["true"], stdin=True))
    for _ in range(50):
        guest.refusal(["no-such-program"], stdin=True)
        guest.refusal(["true"], cwd="/nope")
    assert guest.open_descriptors() == before


def test_out_of_descriptors_is_told_leaks_none_and_passes(start: Start) -> None:
    guest = start(setup="ulimit -n 40")
    guest.hear("ready")
    before = guest.open_descriptors()
    running = []
    error = ""
    while not error:
        guest.counter += 1
        id = str(guest.counter)
        guest.tell("spawn", id=id, argv=["sleep", "1000"], env={}, cwd="/", stdin=True)
        message = guest.hear_any()
        error = message.get("error", "")
        running += [id] if not error else []
    assert "Too many open files" in error
    assert len(running) > 5
    for _ in range(50):
        assert "Too many open files" in guest.refusal(["true"], stdin=True)
    for id in running:
        guest.tell("signal", id=id, signum=9)
        guest.finish(id)
    assert guest.open_descriptors() == before
