"""What the relay says of its clients' work, and what it keeps for a sandbox that is to come."""

from __future__ import annotations

import os
import queue
import signal
from typing import Any

import pytest

from moat_nb.jupyter.relay.wire import Message
from moat_nb.jupyter.relay.work import ACTIVE, CELL, IDLE, WANTED, Work
from tests.unit.jupyter.relay.conftest import World

WHY = "nothing ran in the sandbox for 1 h (kernel.idle_timeout), so it was ended"


def reply(id: str) -> Message:
    header = {"msg_id": "of the kernel", "msg_type": "execute_reply"}
    return Message(identities=[], header=header, parent={"msg_id": id}, content={})


def test_each_cell_has_its_turn_and_the_last_reply_ends_them() -> None:
    said: list[str] = []
    work = Work(said.append)
    for id in ("1", "2"):
        work.asked([], {"msg_type": "execute_request", "msg_id": id})
    assert said == [CELL]
    work.hear(reply("of nobody"))
    work.hear(reply("1"))
    work.hear(reply("1"))
    work.hear(reply("2"))
    assert said == [CELL, CELL, IDLE]
    assert work.forget() == []


def test_what_a_page_asks_by_itself_is_no_work_and_letters_are_told_of_once_a_while() -> None:
    said: list[str] = []
    work = Work(said.append)
    for kind in ("kernel_info_request", "comm_info_request", None):
        work.asked([], {"msg_type": kind})
    for _ in range(3):
        work.asked([], {"msg_type": "complete_request"})
    assert said == [ACTIVE]


def next_word(world: World) -> str:
    return world.words.get(timeout=20)


def test_a_running_cell_is_work_until_the_kernel_answers(world: World) -> None:
    kernel = world.start_kernel()
    identities, request = world.asked()
    assert next_word(world) == CELL
    kernel.send("shell", "execute_reply", {"status": "ok"}, ident=identities, parent=request)
    assert next_word(world) == IDLE


def sleep(world: World) -> None:
    world.relay.asleep(world.prefix, WHY)


def texts(world: World, count: int) -> list[Any]:
    messages = [world.client.next("iopub")[1] for _ in range(count)]
    return [(message["msg_type"], message["content"]) for message in messages]


def test_why_it_ended_stands_below_the_last_cell_and_in_the_next(world: World) -> None:
    kernel = world.start_kernel()
    identities, request = world.asked()
    kernel.send("shell", "execute_reply", {"status": "ok"}, ident=identities, parent=request)
    assert [next_word(world), next_word(world)] == [CELL, IDLE]
    sleep(world)
    said = world.client.next("iopub")[1]
    assert said["parent_header"]["msg_id"] == request["header"]["msg_id"]
    assert said["content"]["text"] == f"moat: {WHY}; the next cell starts another\n"
    world.client.send("shell", "execute_request", {"code": "2", "silent": False})
    assert next_word(world) == WANTED
    _, late = world.start_kernel("2").next("shell")
    assert late["content"]["code"] == "2"
    ((_, said_there),) = texts(world, 1)
    assert said_there["text"] == (
        f"moat: this is a new sandbox, with nothing of the one before: {WHY}\n"
    )
    assert next_word(world) == CELL


def test_what_ran_when_it_ended_is_answered(world: World) -> None:
    world.start_kernel()
    world.asked()
    world.asked("another")
    sleep(world)
    assert [world.client.next("shell")[1]["content"]["status"] for _ in range(2)] == [
        "error",
        "aborted",
    ]
    kinds = texts(world, 3)
    assert [kind for kind, _ in kinds] == ["error", "status", "status"]
    assert kinds[0][1]["evalue"] == WHY
    assert [next_word(world) for _ in range(2)] == [CELL, IDLE]


def test_what_was_asked_in_vain_is_answered_with_the_reason(world: World) -> None:
    world.start_kernel()
    sleep(world)
    world.client.send("shell", "kernel_info_request", {})
    world.client.send("shell", "execute_request", {"code": "1", "silent": False})
    assert [next_word(world), next_word(world)] == [WANTED, WANTED]
    world.relay.refused("no room")
    assert world.client.next("shell")[1]["content"]["evalue"] == "no room"
    world.client.send("shell", "execute_request", {"code": "again", "silent": False})
    assert next_word(world) == WANTED


def test_a_relay_in_the_place_of_a_dead_one_holds_too(world: World) -> None:
    world.start_kernel()
    sleep(world)
    first = world.relay.pid
    os.kill(first, signal.SIGKILL)
    assert world.client.next("iopub")[1]["msg_type"] == "iopub_welcome"  # the next is there
    world.client.send("shell", "execute_request", {"code": "1", "silent": False})
    assert next_word(world) == WANTED
    assert world.relay.pid != first
    with pytest.raises(queue.Empty):
        world.words.get(timeout=0.1)
