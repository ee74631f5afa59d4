"""The request for a library's script: how often it is made, and what ends it."""

from __future__ import annotations

from typing import Any

from moat_nb.jupyter.output.drawings import Drawings
from moat_nb.jupyter.output.messages import sanitise
from moat_nb.jupyter.relay.libraries import MOST_ASKED, Libraries
from moat_nb.jupyter.relay.wire import Message
from tests.unit.jupyter.output.test_drawings import DISPLAYED, display


def reply(asked: Message, **content: Any) -> Message:
    return Message(
        identities=[],
        header={"msg_type": "execute_reply"},
        parent=dict(asked.header),
        content=content,
    )


def test_a_kernel_that_always_puts_it_off_is_asked_no_more() -> None:
    drawings = Drawings()
    libraries = Libraries(drawings)
    waiting, _ = sanitise("display_data", display(DISPLAYED["plotly"]), drawings=drawings)
    for number in range(1, MOST_ASKED + 1):
        asked = libraries.request()
        assert asked is not None
        updates = [*libraries.drawn(reply(asked, status="aborted"))]
        assert len(updates) == (number == MOST_ASKED)
    assert waiting is not None
    assert updates[0].content["transient"] == waiting["transient"]
    assert libraries.request() is None
