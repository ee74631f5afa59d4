"""The request for a library's script: how often it is made, and what ends it."""

from __future__ import annotations

from typing import Any

from moat_nb.jupyter.relay.libraries import MOST_ASKED, Libraries
from moat_nb.jupyter.relay.wire import Message


class Wanting:
    """Drawings that want one library until they are given something for it."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def wanted(self) -> tuple[str, str] | None:
        return None if self.given else ("plotly", "1")

    def give(self, library: str, script: Any) -> list[dict[str, Any]]:
        self.given.append(script)
        return []


def reply(asked: Message, **content: Any) -> Message:
    return Message(
        identities=[],
        header={"msg_type": "execute_reply"},
        parent=dict(asked.header),
        content=content,
    )


def test_a_kernel_that_always_puts_it_off_is_asked_no_more() -> None:
    drawings = Wanting()
    libraries = Libraries(drawings)  # type: ignore[arg-type]
    for _ in range(MOST_ASKED):
        asked = libraries.request()
        assert asked is not None
        assert [*libraries.drawn(reply(asked, status="aborted"))] == []
    assert drawings.given == [None]
    assert libraries.request() is None
