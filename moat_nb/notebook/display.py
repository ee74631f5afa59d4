"""Output of a cell in a sandbox, shown as this cell's own.

Types and lengths of all fields are the sandbox's word, so each is checked; what does not fit is
left out.
"""

from __future__ import annotations

import secrets
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from moat_nb.errors import CellInterrupted, MoatError
from moat_nb.jupyter.output.drawings import Drawings
from moat_nb.jupyter.output.messages import DISPLAYS
from moat_nb.jupyter.output.safe import VIEW, sanitise_mimebundle
from moat_nb.notebook.progress_bars import ProgressBars
from moat_nb.text.terminal import for_terminal
from moat_nb.text.untrusted import as_dict

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["DisplayIds", "Replay"]

MAX_DISPLAYS = 10_000
"""How many displays of a session can still be updated."""


_BAR = "\0bar "
"""In front of the id of a bar's model, so that it is no display's by chance."""


class DisplayIds:
    """Which display here is the one that the sandbox knows by an id of its own.

    The ids here cannot be guessed, so a sandbox updates its own displays and no others.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, str] = OrderedDict()

    def make(self, inside: str) -> str:
        self._known[inside] = self._known.get(inside) or secrets.token_hex(16)
        self._known.move_to_end(inside)
        if len(self._known) > MAX_DISPLAYS:
            self._known.popitem(last=False)
        return self._known[inside]

    def get(self, inside: str) -> str | None:
        return self._known.get(inside)


class Replay:
    """Shows one cell's output messages; ``show`` is a :data:`moat_nb.jupyter.cells.Show`.

    ``trust`` lets active content through. ``hint`` is given what the user should know, once each.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        displays: DisplayIds,
        drawings: Drawings,
        *,
        trust: bool,
        hint: Callable[[str], None],
    ) -> None:
        self._shell = shell
        self._displays = displays
        self._drawings = drawings
        self._trust = trust
        self._hint = hint
        self._hinted: set[str] = set()
        self._bars = ProgressBars()

    def show(self, kind: str, content: dict[str, Any], buffers: list[Any]) -> None:
        if kind == "stream":
            self._stream(content)
        elif kind in DISPLAYS:
            self._display(kind, content, buffers)
        elif kind == "clear_output":
            self._shell.display_pub.clear_output(wait=content.get("wait") is True)
        elif kind == "comm_msg":
            self._move(self._bars.update(content))
        elif kind == "comm_open" and not self._bars.open(content):
            self._hint_once(
                "a widget was made in the sandbox; from a %%moat cell only its text is shown "
                "(a notebook on the project's own kernel shows it: moat-nb install)"
            )

    def _move(self, bars: Iterable[tuple[str, str]]) -> None:
        """Show bars as they are now."""
        for model, text in bars:
            transient = {"display_id": self._displays.make(f"{_BAR}{model}")}
            self._publish({"text/plain": for_terminal(text)}, {}, transient, True, [])

    def _stream(self, content: dict[str, Any]) -> None:
        text = content.get("text")
        if isinstance(text, str):
            stream = sys.stderr if content.get("name") == "stderr" else sys.stdout
            stream.write(for_terminal(text))
            stream.flush()

    def _display(self, kind: str, content: dict[str, Any], buffers: list[Any]) -> None:
        data, metadata = dict(as_dict(content.get("data"))), as_dict(content.get("metadata"))
        inside = as_dict(content.get("transient")).get("display_id")
        update = kind == "update_display_data"
        display_id = None
        if isinstance(inside, str):
            display_id = self._displays.get(inside) if update else self._displays.make(inside)
        if update and display_id is None:
            return
        transient = {} if display_id is None else {"display_id": display_id}
        text = self._bars.view(model := as_dict(data.pop(VIEW, None)).get("model_id"))
        if text is not None and not update:
            transient = {"display_id": self._displays.make(f"{_BAR}{model}")}
            self._publish({"text/plain": for_terminal(text)}, {}, transient, False, [])
            return
        if not self._trust:
            drawn = self._drawings.shown({"data": data, "transient": transient})
            if drawn is not None:
                self._publish(drawn["data"], {}, drawn["transient"], update, [])
                return
            data, metadata, hints = sanitise_mimebundle(data, metadata)
            for hint in hints:
                self._hint_once(hint)
        if isinstance(data.get("text/plain"), str):
            data["text/plain"] = for_terminal(data["text/plain"])
        self._publish(data, metadata, transient, update, buffers)

    def finish(self, evaluate: Callable[[str], str]) -> None:
        """Once the cell has ended: draw what waits for a script, which ``evaluate`` gets.

        It is called with an expression, and gives the text that is its value in the kernel; a
        MoatError leaves that library's figures as text until there is another kernel, unless it is
        an interrupt's.
        """
        self._move(self._bars.rest())
        while (wanted := self._drawings.wanted()) is not None:
            library, expression = wanted
            script = None
            try:
                script = evaluate(expression)
            except CellInterrupted:
                return  # it is asked for again after the next cell
            except MoatError as error:
                self._hint_once(f"figures of {library} are shown as text: {error}")
            for drawn in self._drawings.give(library, script):
                self._publish(drawn["data"], {}, drawn["transient"], True, [])

    def pages(self, reply: dict[str, Any]) -> None:
        """Print what the cell asked to be paged, such as the help that ``name?`` shows."""
        payload = reply.get("payload")
        for page in payload if isinstance(payload, list) else ():
            text = as_dict(as_dict(page).get("data")).get("text/plain")
            if isinstance(text, str) and as_dict(page).get("source") == "page":
                print(for_terminal(text))

    def _publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any],
        transient: dict[str, str],
        update: bool,
        buffers: list[Any],
    ) -> None:
        publisher: Any = self._shell.display_pub
        if not buffers or getattr(publisher, "session", None) is None:
            publisher.publish(data, metadata, transient=transient, update=update)
            return
        # ipykernel's own publish() cannot send them.
        publisher._flush_streams()
        publisher.session.send(
            publisher.pub_socket,
            "update_display_data" if update else "display_data",
            {"data": data, "metadata": metadata, "transient": transient},
            parent=publisher.parent_header,
            ident=publisher.topic,
            buffers=buffers,
        )

    def _hint_once(self, text: str) -> None:
        if text not in self._hinted:
            self._hinted.add(text)
            self._hint(text)
