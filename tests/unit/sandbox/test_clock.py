"""The clock's real time, with limits of a part of a second."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from moat_nb.config.model import KernelOptions
from moat_nb.sandbox.clock import Clock, exactly

Rung = tuple[str, str]


@contextmanager
def running(*work: str, **limits: Any) -> Iterator[tuple[Clock, queue.Queue[Rung]]]:
    rung: queue.Queue[Rung] = queue.Queue()
    clock = Clock(
        options=KernelOptions(**limits),
        warn=lambda text: rung.put(("warn", text)),
        end=lambda text: rung.put(("end", text)),
        rest=lambda: rung.put(("rest", "")),
    )
    for one in work:
        clock.begin(one)  # or a busy machine has it be idle before
    clock.start()
    yield clock, rung
    clock.stop()


def test_an_idle_sandbox_is_warned_and_ended_once() -> None:
    with running(idle_timeout=0.2) as (_, rung):
        assert rung.get(timeout=30)[0] == "warn"
        kind, reason = rung.get(timeout=30)
        assert kind == "end"
        assert reason == (
            "nothing ran in the sandbox for 0.2 s (kernel.idle_timeout), so it was ended"
        )
        with pytest.raises(queue.Empty):
            rung.get(timeout=0.5)


def test_while_work_goes_on_it_is_not_idle() -> None:
    with running("one", "two", idle_timeout=0.1) as (clock, rung):
        clock.finish("one")
        clock.finish("one")
        with pytest.raises(queue.Empty):
            rung.get(timeout=0.5)
        clock.finish("two")
        assert [rung.get(timeout=30)[0] for _ in range(2)] == ["warn", "end"]


def test_its_life_ends_whatever_goes_on() -> None:
    with running(max_lifetime=0.2) as (clock, rung):
        clock.begin("work")
        warned, ended = rung.get(timeout=30), rung.get(timeout=30)
        assert warned == (
            "warn",
            "the sandbox ends in 0.1 s, as it may run for 0.2 s (kernel.max_lifetime): save what "
            "you need",
        )
        assert ended[0] == "end"


def test_what_was_made_ahead_is_given_up_again_after_each_work() -> None:
    with running(spare_timeout=0.1) as (clock, rung):
        assert rung.get(timeout=30)[0] == "rest"
        clock.touch()
        clock.begin("work")
        clock.finish("work")
        assert rung.get(timeout=30)[0] == "rest"


def test_a_clock_that_was_stopped_rings_no_more() -> None:
    with running(idle_timeout=0.3) as (clock, rung):
        clock.stop()
        with pytest.raises(queue.Empty):
            rung.get(timeout=0.6)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(90, "90 s"), (120, "2 min"), (7200.0, "2 h"), (0.5, "0.5 s"), (172800, "2 d")],
)
def test_limits_in_words(seconds: float, words: str) -> None:
    assert exactly(seconds) == words
