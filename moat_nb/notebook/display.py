"""Output of a cell in a sandbox, shown as this cell's own.

Types and lengths of all fields are the sandbox's word, so each is checked; what does not fit is
left out.
"""

from __future__ import annotations

import secrets
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moat_nb.errors import MoatError
from moat_nb.jupyter.output.figures import FIGURE, LIBRARY, Figures
from moat_nb.jupyter.output.safe import sanitise_mimebundle
from moat_nb.text.terminal import for_terminal

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["DisplayIds", "Replay"]

MAX_DISPLAYS = 10_000
"""How many displays of a session can still be updated."""

MAX_WAITING = 100
"""How many figures of one cell are drawn when the script has come."""

WIDGET = "application/vnd.jupyter.widget-view+json"


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
    """Shows one cell's output messages; ``show`` is a :data:`moat_nb.notebook.cells.Show`.

    ``trust`` lets active content through. ``hint`` is given what the user should know, once each.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        displays: DisplayIds,
        figures: Figures,
        *,
        trust: bool,
        hint: Callable[[str], None],
    ) -> None:
        self._shell = shell
        self._displays = displays
        self._figures = figures
        self._waiting: dict[str, Any] = {}
        self._trust = trust
        self._hint = hint
        self._hinted: set[str] = set()

    def show(self, kind: str, content: dict[str, Any], buffers: list[Any]) -> None:
        if kind == "stream":
            self._stream(content)
        elif kind in ("display_data", "execute_result", "update_display_data"):
            self._display(kind, content, buffers)
        elif kind == "clear_output":
            self._shell.display_pub.clear_output(wait=content.get("wait") is True)
        elif kind == "comm_open":
            self._hint_once(
                "a widget was made in the sandbox; from a %%moat cell only its text is shown "
                "(a notebook on the project's own kernel shows it: moat-nb install)"
            )

    def _stream(self, content: dict[str, Any]) -> None:
        text = content.get("text")
        if isinstance(text, str):
            stream = sys.stderr if content.get("name") == "stderr" else sys.stdout
            stream.write(for_terminal(text))
            stream.flush()

    def _display(self, kind: str, content: dict[str, Any], buffers: list[Any]) -> None:
        data, metadata = _dict(content.get("data")), _dict(content.get("metadata"))
        inside = _dict(content.get("transient")).get("display_id")
        update = kind == "update_display_data"
        display_id = None
        if isinstance(inside, str):
            display_id = self._displays.get(inside) if update else self._displays.make(inside)
        if update and display_id is None:
            return
        data.pop(WIDGET, None)
        if not self._trust:
            figure = data.pop(FIGURE, None)
            data, metadata, hints = sanitise_mimebundle(data, metadata)
            for hint in hints:
                self._hint_once(hint)
            if figure is not None:
                display_id = display_id or secrets.token_hex(16)
                data = self._with_figure(data, figure, display_id)
        if isinstance(data.get("text/plain"), str):
            data["text/plain"] = for_terminal(data["text/plain"])
        transient = {} if display_id is None else {"display_id": display_id}
        self._publish(data, metadata, transient, update, buffers)

    def _with_figure(self, data: dict[str, Any], figure: Any, display_id: str) -> dict[str, Any]:
        page = self._figures.drawn(figure)
        if page is not None:
            return {**data, "text/html": page}
        if len(self._waiting) < MAX_WAITING:
            self._waiting[display_id] = figure
        return {"text/plain": "a plotly figure", **data}

    def finish(self, evaluate: Callable[[str], str]) -> None:
        """Once the cell has ended: draw what waits for a script, which ``evaluate`` gets.

        It is called with an expression, and gives the text that is its value in the kernel; a
        MoatError leaves the figures as text.
        """
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        try:
            self._figures.give_library(evaluate(LIBRARY))
        except MoatError as error:
            self._hint_once(f"plotly's figures are shown as text: {error}")
            return
        for display_id, figure in waiting.items():
            data = {"text/html": self._figures.drawn(figure)}
            self._publish(data, {}, {"display_id": display_id}, True, [])

    def pages(self, reply: dict[str, Any]) -> None:
        """Print what the cell asked to be paged, such as the help that ``name?`` shows."""
        payload = reply.get("payload")
        for page in payload if isinstance(payload, list) else ():
            text = _dict(_dict(page).get("data")).get("text/plain")
            if isinstance(text, str) and _dict(page).get("source") == "page":
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


def _dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
