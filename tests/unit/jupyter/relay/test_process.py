"""The relay that is started ahead of need, for the next start."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from moat_nb.jupyter.relay import process
from moat_nb.jupyter.relay.process import close_ahead, make_ahead, take


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
