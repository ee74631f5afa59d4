"""What a cell shows that has found no room to write to."""

from __future__ import annotations

from typing import Any

import pytest

from moat_nb.jupyter.relay.met_limits import FILES, MEMORY, PIDS, MetLimits, tells_of_it
from moat_nb.jupyter.relay.wire import Message


def message(kind: str, **content: Any) -> Message:
    return Message(header={"msg_type": kind}, parent={"msg_id": "1"}, content=content)


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        (message("error", ename="OSError", evalue="[Errno 28] No space left on device"), True),
        (message("error", ename="OSError", evalue="100000 requested and 65536 written"), True),
        (message("error", ename="OSError", evalue="[Errno 2] No such file"), False),
        (message("error", ename=3, evalue=None), False),
        (message("stream", text="cp: error writing '/tmp/x': No space left on device"), True),
        (message("stream", text="all is well"), False),
        (message("execute_result", data={"text/plain": "No space left on device"}), False),
    ],
)
def test_programs_say_it_in_their_own_words(shown: Message, told: bool) -> None:
    assert tells_of_it(shown) is told


def test_a_cell_asks_once() -> None:
    full = message("stream", text="No space left on device")
    asked = MetLimits()
    assert [asked.asks(full), asked.asks(full)] == [True, False]
    assert asked.cell == {"msg_id": "1"}
    asked.begin_cell()
    assert not asked.asks(full)  # the answer of the cell before is still to come
    asked.cell = None
    assert asked.asks(full)


def test_a_cell_that_may_start_no_more_processes_is_told_once_which_limit_there_is() -> None:
    fork = message("stream", text="bash: fork: retry: Resource temporarily unavailable")
    thread = message("error", ename="RuntimeError", evalue="can't start new thread")
    asked = MetLimits()
    assert [[*asked.hints(shown)] for shown in (fork, thread)] == [[PIDS], []]
    asked.begin_cell()
    assert [*asked.hints(message("stream", text="all is well"))] == []
    assert [*asked.hints(thread)] == [PIDS]


def test_a_cell_that_can_open_no_further_file_is_told_of_the_limit_once() -> None:
    asked = MetLimits()
    asked.begin_cell()
    error = message("error", ename="OSError", evalue="[Errno 24] Too many open files: 'x'")
    assert [[*asked.hints(error)] for _ in range(2)] == [[FILES], []]


@pytest.mark.parametrize(
    ("ename", "evalue"),
    [
        ("MemoryError", ""),
        ("_ArrayMemoryError", "Unable to allocate 74.5 GiB for an array"),
        ("OSError", "[Errno 12] Cannot allocate memory"),
    ],
)
def test_a_cell_that_had_no_memory_is_told_of_the_limit_once(ename: str, evalue: str) -> None:
    asked = MetLimits()
    asked.begin_cell()
    error = message("error", ename=ename, evalue=evalue)
    assert [[*asked.hints(error)] for _ in range(2)] == [[MEMORY], []]
