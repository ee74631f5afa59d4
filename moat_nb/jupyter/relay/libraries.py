"""The scripts that draw figures, which the relay asks the kernel for as a client would."""

from __future__ import annotations

import traceback
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

from moat_nb.jupyter.output.drawings import Drawings
from moat_nb.jupyter.relay.wire import Message, Signer, made_header

__all__ = ["Libraries"]

IDENTITY = b"moat-relay"
"""Where the kernel's answers go; no client's is so short."""

NAME = "script"
EXPRESSION = (
    "type('Script', (), {{'_repr_mimebundle_': lambda self, **keys: {{'text/plain': {value}}}}})()"
)
"""As a user expression of an execute request, with no code: its ``text/plain`` is the script."""


MOST_ASKED = 3
"""How often a kernel is asked for one library that it does not answer for."""


class Libraries:
    """One request at a time, of one kernel."""

    def __init__(self, drawings: Drawings) -> None:
        self._drawings = drawings
        self._session = uuid.uuid4().hex
        self._asked: tuple[str, str] | None = None
        """The id of the request, and the library."""
        self._aborted: Counter[str] = Counter()

    def forget(self) -> None:
        """The kernel ended."""
        self._asked = None
        self._aborted.clear()
        self._drawings.forget()

    def request(self) -> Message | None:
        """What to ask the kernel now, if anything."""
        wanted = None if self._asked else self._drawings.wanted()
        if wanted is None:
            return None
        library, value = wanted
        header = made_header("execute_request", self._session)
        self._asked = (header["msg_id"], library)
        content = {
            "code": "",
            "silent": True,
            "store_history": False,
            "user_expressions": {NAME: EXPRESSION.format(value=value)},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        return Message(identities=[IDENTITY], header=header, parent={}, content=content)

    def is_about(self, message: Message) -> bool:
        """Whether a kernel's message answers such a request; it is for no client then."""
        asked = self._asked is not None and message.parent.get("msg_id") == self._asked[0]
        return asked or message.parent.get("session") == self._session

    def frames(self, reply: Message, signer: Signer) -> Iterator[tuple[Message, list[bytes]]]:
        """What :meth:`drawn` gives, with its frames, signed."""
        try:
            for shown in self.drawn(reply):
                if (frames := shown.frames(signer)) is not None:
                    yield shown, frames
        except Exception:  # as where it does not fit into memory: no message may end the relay
            traceback.print_exc()

    def drawn(self, reply: Message) -> Iterator[Message]:
        """What to show once the kernel has answered: the figures that waited."""
        if self._asked is None or reply.kind != "execute_reply" or not self.is_about(reply):
            return iter(())
        library, self._asked = self._asked[1], None
        if reply.content.get("status") in ("abort", "aborted"):
            self._aborted[library] += 1
            if self._aborted[library] < MOST_ASKED:
                return iter(())  # with the cells that waited beside it; it is asked again
        return (
            Message(
                identities=[b"update_display_data"],
                header=made_header("update_display_data", self._session),
                parent={},
                content=content,
            )
            for content in self._drawings.give(library, _script(reply.content))
        )


def _script(content: dict[str, Any]) -> Any:
    found: Any = content
    for name in ("user_expressions", NAME, "data", "text/plain"):
        found = found.get(name) if isinstance(found, dict) else None
    return found
