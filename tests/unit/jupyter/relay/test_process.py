"""A relay that is started ahead of need, and one that is started again."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moat_nb.jupyter.relay import process
from moat_nb.jupyter.relay.process import RelayProcess, close_ahead, make_ahead, take
from moat_nb.sandbox.connection import json_ready, new_connection


@pytest.fixture
def base() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="moat-relay-") as name:
        close_ahead()
        yield Path(name) / "base"
        close_ahead()


def test_one_that_was_made_ahead_is_the_next_starts(base: Path) -> None:
    make_ahead(base)
    make_ahead(base)
    (ahead,) = process._ahead
    with contextlib.closing(take(base)) as first, contextlib.closing(take(base)) as second:
        assert first is ahead
        assert second is not ahead
        assert not process._ahead


def test_one_that_has_died_ahead_of_need_or_is_for_another_place_is_not_taken(base: Path) -> None:
    make_ahead(base)
    (dead,) = process._ahead
    os.kill(dead.pid, signal.SIGKILL)
    while dead.is_running():
        pass
    with contextlib.closing(take(base)) as taken:
        assert taken is not dead
    make_ahead(base)
    (elsewhere,) = process._ahead
    with contextlib.closing(take(base.with_name("other"))) as taken:
        assert taken is not elsewhere
    assert not elsewhere.is_running()


def test_one_that_died_is_started_again_though_there_is_no_room_at_first(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, refusals = RelayProcess._started, [OSError(11, "no room")]

    def refuse(relay: RelayProcess) -> object:
        if refusals and relay._options is not None:
            raise refusals.pop()
        return started(relay)

    monkeypatch.setattr(RelayProcess, "_started", refuse)
    monkeypatch.setattr(process, "PAUSE_SECONDS", 0.01)
    with contextlib.closing(RelayProcess(base)) as relay:
        relay.open(json_ready(new_connection(relay.prefix)))
        dead = relay.pid
        os.kill(dead, signal.SIGKILL)
        while relay.pid == dead:
            time.sleep(0.01)
        assert not refusals
        assert relay.is_running()
