"""What cells tell of what the launcher saw, whatever their code does about it."""

from __future__ import annotations

from moat_nb.jupyter.relay.notes import MAX_NOTES, MAX_REPEATS, MORE, Notes
from moat_nb.jupyter.relay.wire import Message
from tests.unit.jupyter.relay.conftest import World


def said(kind: str, **content: str) -> Message:
    header = {"msg_id": "1", "msg_type": kind}
    return Message(identities=[], header=header, parent={}, content=dict(content))


CLEAR, IDLE = said("clear_output"), said("status", execution_state="idle")


def test_the_worst_are_told_first_and_the_others_counted() -> None:
    notes = Notes()
    for number in range(MAX_NOTES):
        notes.keep(f"{number} of no importance", 50)
    notes.keep("a hook was made", 10)
    notes.keep("an exclude came undone", 0)
    notes.keep("a hook was made", 10)
    told = notes.begin_cell()
    assert told[:3] == ["an exclude came undone", "a hook was made", "0 of no importance"]
    assert told[MAX_NOTES:] == [MORE.format(count=2)]
    assert notes.begin_cell() == []


def test_what_a_cell_removes_is_told_again_at_its_end_and_in_the_next_one() -> None:
    notes = Notes()
    notes.keep("a hook was made")
    notes.begin_cell()
    notes.told("another was")
    assert notes.again(IDLE) == []
    for _ in range(MAX_REPEATS):
        assert notes.again(CLEAR) == []
        assert notes.again(IDLE) == ["a hook was made", "another was"]
        assert notes.again(said("execute_reply")) == []
    assert notes.again(CLEAR) == notes.again(IDLE) == []
    assert notes.begin_cell() == ["a hook was made", "another was"]
    notes.again(CLEAR)
    assert notes.begin_cell() == ["a hook was made", "another was"]
    assert notes.begin_cell() == []


def test_a_cell_that_clears_its_output_does_not_clear_a_note(world: World) -> None:
    kernel = world.start_kernel()
    for number in range(MAX_NOTES):
        world.relay.note(f"{number} was made", weight=50)
    world.relay.note("a hook was made", weight=10)
    while world.relay._commands.left():
        pass
    _, request = world.asked()
    shown = [world.client.next("iopub")[1]["content"]["text"] for _ in range(MAX_NOTES + 1)]
    assert shown[0] == "moat: a hook was made\n"
    kernel.send("iopub", "clear_output", {"wait": False}, parent=request)
    kernel.send("iopub", "status", {"execution_state": "idle"}, parent=request)
    after = [world.client.next("iopub")[1] for _ in range(MAX_NOTES + 3)]
    assert after[0]["msg_type"] == "clear_output"
    assert after[-1]["msg_type"] == "status"
    assert [message["content"]["text"] for message in after[1:-1]] == shown
