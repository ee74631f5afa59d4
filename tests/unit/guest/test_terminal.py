"""A process on a terminal of its own, of a guest that is run for real."""

from __future__ import annotations

import sys
import time

import pytest

from tests.unit.guest.running import Guest

pytestmark = pytest.mark.machine  # a guest is the first process of a namespace


def keys(guest: Guest, id: str, text: str) -> None:
    guest.tell("input", text.encode(), id=id)
    guest.hear("input_taken", id)


def await_output(guest: Guest, id: str, words: str) -> str:
    """What was written so far, once ``words`` are in it."""
    deadline = time.monotonic() + 60
    while words.encode() not in guest.outputs[id][1] and time.monotonic() < deadline:
        guest.tell("vitals", id="v")
        guest.hear("vitals", "v")
    assert words.encode() in guest.outputs[id][1]
    return bytes(guest.outputs[id][1]).decode()


def test_it_has_a_size_that_follows_and_keys_that_are_signals(guest: Guest) -> None:
    script = (
        "import os, signal, sys, time\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})\n"
        "print(os.isatty(0), os.isatty(2), os.get_terminal_size(1), flush=True)\n"
        "signal.sigwait({signal.SIGWINCH})\n"
        "print(os.get_terminal_size(0), flush=True)\n"
        "print('read', input(), flush=True)\n"
        "try: time.sleep(1000)\n"
        "except KeyboardInterrupt: sys.exit(9)\n"
    )
    id = guest.spawn([sys.executable, "-c", script], terminal=[31, 90])
    first = await_output(guest, id, "lines=31)")
    assert "True True os.terminal_size(columns=90, lines=31)" in first
    guest.tell("resize", id=id, rows=40, columns=70)
    await_output(guest, id, "os.terminal_size(columns=70, lines=40)")
    keys(guest, id, "hello\r")
    await_output(guest, id, "read hello")
    keys(guest, id, "\x03")
    assert guest.finish(id) == (9, None)
    assert not guest.outputs[id][2]
    guest.tell("resize", id=id, rows=1, columns=1)
    assert guest.run("echo still here") == "still here\n"


def test_all_that_it_wrote_comes_also_when_a_daemon_keeps_its_terminal(guest: Guest) -> None:
    script = "seq 20000; trap '' HUP; setsid sh -c 'trap \"\" HUP; sleep 1000' & sleep 0.1; exit 4"
    id = guest.spawn(["sh", "-c", script], terminal=[24, 80])
    assert guest.finish(id) == (4, None)
    assert bytes(guest.outputs[id][1]).decode().split() == [str(n) for n in range(1, 20001)]


def test_a_program_that_reads_no_keys_holds_nobody_up(guest: Guest) -> None:
    id = guest.spawn(["sh", "-c", "stty raw; echo up; exec sleep 1000"], terminal=[24, 80])
    await_output(guest, id, "up")
    for _ in range(4):  # more than a terminal holds
        data = b"x" * 16384
        guest.tell("input", data, id=id)
    assert guest.run("echo still here") == "still here\n"
    guest.tell("signal", id=id, signum=9)
    assert guest.finish(id) == (None, 9)
