"""Between the kernel of a test and that of a submission: each request there, each answer back.

Neither kernel reaches the other. The texts that pass are read in the test's kernel alone; here no
more is known of one than its first letter, which says what it is:

- from the test: ``Q`` asks the submission, ``A`` answers its call of a function, ``R`` is a result;
- from the submission: ``D`` is the answer, ``C`` calls a function that the test has given it;
- to the test: ``D`` and ``C`` as they came, ``E`` says in words why there is no answer.
"""

from __future__ import annotations

import contextlib
import json
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from moat_nb.errors import CellInterrupted, MoatError, MoatRemoteError
from moat_nb.grading import inside
from moat_nb.grading.assignment import Case
from moat_nb.jupyter.cells import Options, run_cell
from moat_nb.jupyter.kernel_manager import Kernel
from moat_nb.text.untrusted import as_dict

__all__ = ["Exchange"]

CALL_SECONDS = 1.0
"""Beyond the time that a call may take: for the words that it took too long."""

_END = "E"


class Exchange:
    """Runs tests in ``tester`` over what runs in ``kernel``; a context manager.

    ``seconds`` is how long one call of the submission's may take, and one test.
    """

    def __init__(self, tester: Kernel, kernel: Kernel, *, seconds: float) -> None:
        self._tester, self._kernel, self._seconds = tester, kernel, seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="moat-answer")
        self._from_submission: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._to_submission: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._result: dict[str, Any] = {}
        self._gone = ""

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *how: object) -> None:
        self._to_submission.put(_END)
        self._thread.shutdown()

    def prepare(self, sources: tuple[str, ...]) -> None:
        """Make both sides ready. Raises MoatError where the test's cannot be."""
        with contextlib.suppress(MoatError):  # each test finds out, and its words are better
            self._run(self._kernel, _of_submission())
        self._run(self._tester, f"{_of_tester()}\n_moat.prepare({list(sources)!r})", self._ask)

    def run(self, case: Case) -> dict[str, Any]:
        """``passed``, ``why`` and ``printed``; the last two are words of the submission's too."""
        self._result = {}
        code = f"_moat.run({case.name!r}, {case.source!r}, {case.form!r})"
        try:
            self._run(self._tester, code, self._ask)
        except CellInterrupted:
            return {"passed": False, "why": f"the test took longer than {self._seconds:g} s"}
        except MoatRemoteError as error:
            return {"passed": False, "why": str(error)}
        return self._result or {"passed": False, "why": "the test did not come to its end"}

    def _run(
        self, kernel: Kernel, code: str, ask: Callable[[str, bool], str] | None = None
    ) -> None:
        options = Options(ask=ask, timeout=self._seconds + CALL_SECONDS, hidden=True)
        run_cell(kernel, code, lambda *message: None, options)

    # -------- what the test asks

    def _ask(self, text: str, secret: bool) -> str:
        kind, words = text[:1], text[1:]
        if kind == "R":
            self._result = as_dict(json.loads(words))
            return ""
        if self._gone:
            return _END + self._gone
        if kind == "Q":
            self._thread.submit(self._have_answered, words)
        else:
            self._to_submission.put(words)
        return self._from_submission.get()

    def _have_answered(self, request: str) -> None:
        """In a thread, as the submission may call back before it answers."""
        answers: list[str] = []

        def hear(text: str, secret: bool) -> str:
            if text[:1] == "C" and not answers:
                self._from_submission.put(text)
                answer = self._to_submission.get()
                if answer == _END:
                    raise EOFError
                return answer
            if text[:1] != "D":
                raise EOFError  # input() has nobody to ask
            answers.append(text)
            return ""

        why = "the submission gave no answer"
        code = f"__import__('sys').modules['_moat_submission'].answer({request!r})"
        try:
            options = Options(ask=hear, timeout=self._seconds, hidden=True)
            run_cell(self._kernel, code, lambda *message: None, options)
        except CellInterrupted as error:
            why = f"the submission took longer than {self._seconds:g} s"
            answers.clear()
            if not error.stopped:
                self._gone = f"{why}, and did not stop"
        except MoatRemoteError as error:
            why = f"the submission gave no answer: {error}"
        except MoatError as error:
            why = self._gone = f"the submission's kernel has ended: {error}"
        self._from_submission.put(answers[0] if answers else _END + why)


@cache
def _text(name: str) -> str:
    return Path(inside.__path__[0], name).read_text(encoding="utf-8")


_MODULE = """\
def _moat_module(name, text):
    import sys, types
    module = sys.modules[name] = types.ModuleType(name)
    module.__package__ = name.rpartition(".")[0]
    exec(compile(text, name, "exec"), module.__dict__)
    return module
"""

ASK = "get_ipython().kernel.raw_input"


def _of_submission() -> str:
    return (
        f"{_MODULE}"
        f"_moat_values = _moat_module('_moat_values', {_text('plain_values.py')!r})\n"
        f"_moat_answers = _moat_module('_moat_submission', {_text('submission.py')!r})\n"
        f"_moat_answers.answer = _moat_answers.Submission("
        f"get_ipython().user_ns, {ASK}, _moat_values).answer\n"
        "del _moat_module, _moat_values, _moat_answers\n"
    )


def _of_tester() -> str:
    return (
        f"{_MODULE}"
        f"_moat_values = _moat_module('_moat_values', {_text('plain_values.py')!r})\n"
        "_moat_module('_moat_inside', '')\n"
        f"_moat_module('_moat_inside.remote', {_text('remote.py')!r})\n"
        f"_moat_tests = _moat_module('_moat_inside.tester', {_text('tester.py')!r})\n"
        f"_moat = _moat_tests.Tester({ASK}, _moat_values, get_ipython().transform_cell)\n"
    )
