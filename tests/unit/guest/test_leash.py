"""The end of a guest whose launcher is silent, for real."""

from __future__ import annotations

import time

import pytest

from moat_nb.guest import protocol
from tests.unit.guest.running import Start

pytestmark = pytest.mark.machine  # a guest is the first process of a namespace


def test_a_guest_that_hears_nothing_for_the_grace_ends(start: Start) -> None:
    guest = start(grace=2.0)
    guest.hear(protocol.READY)
    assert guest.process.wait(60) == 4


def test_one_that_hears_of_its_launcher_lives_on_until_it_is_told_to_end(start: Start) -> None:
    guest = start(grace=20.0)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        guest.tell(protocol.ALIVE)
        time.sleep(0.1)
    assert guest.finish(guest.spawn(["sh", "-c", "exit 3"])) == (3, None)
    guest.tell(protocol.END)
    assert guest.process.wait(60) == 0


def test_one_whose_words_nobody_reads_ends_all_the_same(start: Start) -> None:
    """It stands in a write, as of a launcher that was stopped."""
    guest = start(grace=3.0)
    guest.spawn(["sh", "-c", "yes"])
    assert guest.process.wait(60) == 4


def test_a_program_of_its_has_the_alarm_of_any_program(start: Start) -> None:
    guest = start(grace=60.0)
    script = "import os, signal; signal.alarm(1); signal.pause()"
    assert guest.finish(guest.spawn(["python3", "-c", script])) == (None, 14)
    guest.tell(protocol.END)
    assert guest.process.wait(60) == 0
