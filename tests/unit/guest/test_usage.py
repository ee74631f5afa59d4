"""The kernels' memory and CPU."""

from __future__ import annotations

import os
import signal
import time

import pytest

from moat_nb.guest.usage import HISTORY, Usage
from tests.unit.guest.running import (
    KERNEL,
    MIB,
    PRELOAD,
    Start,
    ask,
    connection,
)

pytestmark = pytest.mark.machine  # a guest is the first process of a namespace


def test_vitals_tell_what_kernels_and_what_they_started_use_and_of_no_other_process(
    start: Start, sockets: str
) -> None:
    guest = start(preload=PRELOAD)
    guest.hear("ready")
    guest.spawn(["sleep", "60"])
    id = guest.spawn(KERNEL, fork=True, connection=connection(f"{sockets}/k"))
    busy = "x = bytearray(90 << 20)\nwhile True: pass"
    code = f"__import__('subprocess').Popen([__import__('sys').executable, '-c', {busy!r}]).pid"
    ask(f"{sockets}/k", code)
    rows: list[list[int]] = []
    while len(rows) < 3 or rows[-1][1] <= 90 * MIB:
        time.sleep(0.5)
        guest.tell("vitals", id="v")
        (kernel,) = guest.hear("vitals", "v")["kernels"]
        assert kernel["id"] == id
        rows = kernel["samples"]
    (before, _, cpu), (after, memory, more) = rows[-2:]
    assert memory < 1000 * MIB
    assert 0 < more - cpu <= 2 * (before - after)
    guest.tell("signal", id=id, signum=int(signal.SIGKILL))
    guest.finish(id)
    guest.tell("vitals", id="w")
    assert guest.hear("vitals", "w")["kernels"] == []


def test_the_history_is_bounded_and_looks_that_come_at_once_are_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("moat_nb.guest.usage.GAP_SECONDS", 60.0)
    usage = Usage()
    kernel = {"1": os.getsid(0)}
    for _ in range(3):
        usage.sample(kernel)
    ((_, *_),) = usage.histories["1"]
    for _ in range(HISTORY + 10):
        usage.sampled = float("-inf")
        usage.sample(kernel)
    assert len(usage.histories["1"]) == HISTORY
