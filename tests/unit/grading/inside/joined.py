"""A submission and its tests, joined in one process: texts pass as exchange.py has them pass."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from moat_nb.grading.inside import plain_values
from moat_nb.grading.inside.submission import Submission
from moat_nb.grading.inside.tester import Tester

SECONDS = 20.0


class Kernel:
    """What has run ``source``, and answers in a thread, as it may call back before."""

    def __init__(self, source: str) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(source, "<cell>", "exec"), self.names)
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._submission = Submission(self.names, self._say, plain_values)

    def exchange(self, text: str) -> str:
        if text[:1] == "Q":
            args = (text[1:],)
            threading.Thread(target=self._submission.answer, args=args, daemon=True).start()
        else:
            self._heard.put(text[1:])
        return self._said.get(timeout=SECONDS)

    def _say(self, text: str) -> str:
        self._said.put(text)
        return self._heard.get(timeout=SECONDS) if text[:1] == "C" else ""


class Graded:
    """Runs tests over what ``exchange`` answers."""

    def __init__(self, exchange: Callable[[str], str], *prepared: str) -> None:
        self._exchange = exchange
        self._result: dict[str, Any] = {}
        self._tester = Tester(self._ask, plain_values, TransformerManager().transform_cell)
        self._tester.prepare(prepared)

    def _ask(self, text: str) -> str:
        if text[:1] != "R":
            return self._exchange(text)
        self._result = json.loads(text[1:])
        return ""

    @property
    def said(self) -> dict[str, Any]:
        return self._result

    def prepare(self, sources: list[str], **names: list[str] | None) -> None:
        self._tester.name(**{"asked": [], "bound": [], "solved": [], **names})
        self._tester.prepare(sources)

    def run(self, test: str, form: str = "code") -> dict[str, Any]:
        self._result = {}
        self._tester.run("q1", test, form)
        return self._result


def result(source: str, test: str, form: str = "code") -> dict[str, Any]:
    """What ``test`` comes to over a submission with this source."""
    return Graded(Kernel(source).exchange).run(test, form)


def why(source: str, test: str, form: str = "code") -> str:
    """Why the test did not pass, or nothing."""
    found = result(source, test, form)
    assert found["passed"] is not bool(found["why"])
    return str(found["why"])
