"""A relay that takes nothing, as a sandbox may keep it busy."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moat_nb.jupyter.relay import commands
from moat_nb.jupyter.relay.process import RelayProcess
from moat_nb.sandbox.connection import json_ready, new_connection


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="moat-relay-") as name:
        yield Path(name) / "base"


@contextlib.contextmanager
def held(base: Path) -> Iterator[RelayProcess]:
    """One that listens, and takes nothing any more."""
    relay = RelayProcess(base)
    relay.open(json_ready(new_connection(relay.prefix)))
    pid = relay.pid
    while relay._commands._waiting:  # until it has begun
        time.sleep(0.01)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield relay
    finally:
        relay.close()
        assert list(base.iterdir()) == []


def test_nobody_waits_for_one_that_takes_nothing(base: Path) -> None:
    """A pipe holds 64 KiB: whoever wrote more would meet pytest's timeout."""
    with held(base) as relay:
        for number in range(2000):
            relay.note(f"{number}: {'x' * 200}")
        relay.ended("x", "it died")
        assert len(relay._commands.left()) < 1000
        assert relay._commands.left()[-1] == {"ended": "x", "why": "it died"}


def test_of_many_notes_the_worst_wait(base: Path) -> None:
    with held(base) as relay:
        for number in range(2 * commands.MAX_NOTES):
            relay.note(f"{number} was made", weight=50)
        relay.note("a hook was made", weight=10)
        assert relay._commands.left()[-1]["note"] == "a hook was made"


def test_what_is_told_before_it_listens_waits_for_that(base: Path) -> None:
    with contextlib.closing(RelayProcess(base)) as relay:
        relay.note("a hook was made while the sandbox started")
        relay.open(json_ready(new_connection(relay.prefix)))
        while relay._commands.left():
            time.sleep(0.01)
        assert relay.is_running()


def test_one_that_takes_nothing_is_started_again_and_told_what_it_missed(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "TAKE_SECONDS", 0.2)
    with held(base) as relay:
        pid = relay.pid
        relay.connect({"ip": str(base / "kernel"), "key": "k"})
        relay.note("of importance")
        while relay.pid == pid:
            time.sleep(0.01)
        assert relay._state == {"connect": str(base / "kernel"), "key": "k"}
        while relay._commands.left():  # taken
            time.sleep(0.01)
        assert relay.is_running()
