"""Between the tests' process and a submission's kernel: each request there, each answer back.

Neither reaches the other. The texts that pass are read in the tests' process alone; here no more is
known of one than its first letter, which says what it is:

- from the test: ``Q`` asks the submission, ``A`` answers its call of a function, ``R`` is a result;
- from the submission: ``D`` is the answer, ``C`` calls a function that the test has given it;
- to the test: ``D`` and ``C`` as they came, ``E`` says in words why there is no answer.
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from moat_nb.errors import CellInterrupted, MoatError, MoatRemoteError
from moat_nb.grading.assignment import Assignment, Case
from moat_nb.grading.inside import plain_values
from moat_nb.grading.tests_process import NO_ANSWER, TestsProcess, TookTooLong, as_module
from moat_nb.jupyter.cells import Options, run_cell
from moat_nb.jupyter.kernel_manager import Kernel
from moat_nb.text.untrusted import as_dict

__all__ = ["Exchange", "Unprepared"]

CALL_SECONDS = 1.0
"""Beyond the time that a call may take: for the words that it took too long."""

START_SECONDS = 60.0
"""For a Python to start."""

LOST_SECONDS = 30.0
"""Beyond the time of a call and of one that it makes: for a kernel to be interrupted."""


class _Call:
    """One request to the submission, until it is answered or given up."""

    def __init__(self, seconds: float) -> None:
        self.options = Options(ask=self._hear, timeout=seconds, hidden=True)
        self.answer = ""
        self.said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._closed = threading.Event()

    def give(self, answer: str) -> None:
        """What a function of the test's has returned, which the submission has called."""
        self._answers.put(answer)

    def _hear(self, text: str, secret: bool) -> str:
        """What the submission says: the answer, or a call of a function of the test's."""
        # input() has nobody to ask, and no line of ours is two.
        is_line = text.isascii() and "\n" not in text and len(text) <= plain_values.LONGEST
        if self.answer or text[:1] not in ("C", "D") or not is_line:
            raise EOFError
        if text[:1] == "C":
            return self._call_back(text)
        self.answer = text
        return ""

    def _call_back(self, text: str) -> str:
        """Have the test call its function. Raises EOFError where no answer comes."""
        if self._closed.is_set():
            raise EOFError
        self.said.put(text)
        try:
            answer = self._answers.get(timeout=self.options.timeout)
        except queue.Empty:
            raise EOFError from None
        if self._closed.is_set():
            raise EOFError
        return answer

    def close(self) -> None:
        """From now on no function of the test's is called, and what still runs is interrupted."""
        self._closed.set()
        self.options.cancelled.set()
        self._answers.put(NO_ANSWER)


class Unprepared(MoatError):
    """What the tests stand on failed, and no submission had a part in it."""


class Exchange:
    """Runs the tests of an assignment in ``tester`` over what runs in ``kernel``; a context
    manager.

    ``seconds`` is how long one call of the submission's may take, and one test.
    """

    def __init__(
        self, assignment: Assignment, tester: TestsProcess, kernel: Kernel, *, seconds: float
    ) -> None:
        self._assignment = assignment
        self._tester, self._kernel, self._seconds = tester, kernel, seconds
        self._prepared: int | None = None
        """How much of what tests stand on has run; None before both sides are ready."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="moat-answer")
        self._call = _Call(seconds)
        self._answering: Future[None] | None = None
        self._result: dict[str, Any] = {}
        self._gone = ""
        self.too_long = ""
        """Why the submission's kernel was ended, in words."""

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *how: object) -> None:
        self._call.close()
        self._thread.shutdown()

    def run(self, case: Case) -> dict[str, Any]:
        """``passed``, ``value``, and of the submission's words too: ``why`` and ``printed``.

        Raises MoatError when the tests' own process has ended, and Unprepared.
        """
        self._prepare(case)
        self._result = {}
        try:
            self._have_tested("run", case.name, case.source, case.form)
        except TookTooLong:
            return {"passed": False, "why": f"the test took longer than {self._seconds:g} s"}
        return self._result or {"passed": False, "why": "the test did not come to its end"}

    def _prepare(self, case: Case) -> None:
        """Run what the test stands on, and has not run before; first of all, make both sides
        ready."""
        if self._prepared is None:
            self._make_ready()
            self._prepared = 0
        sources = self._assignment.prepared[self._prepared : case.needs]
        if not sources:
            return
        self._prepared += len(sources)
        self._result = {}
        with contextlib.suppress(TookTooLong):  # by a call of the submission's
            self._have_tested("prepare", sources)
        if why := self._result.get("why"):
            raise Unprepared(f"the tests cannot be prepared: {why}")

    def _make_ready(self) -> None:
        with contextlib.suppress(MoatError):  # the test finds out, and its words are better
            options = Options(timeout=self._seconds + CALL_SECONDS, hidden=True)
            run_cell(self._kernel, _of_submission(), lambda *message: None, options)
        made = self._assignment
        names = (made.asked, made.bound, made.solved, made.classes)
        try:
            # Python starts meanwhile, which no submission has a part in.
            self._tester.do("name", *names, ask=self._ask, seconds=START_SECONDS)
        except MoatError as error:
            raise Unprepared(f"the tests' Python does not start: {error}") from error

    def _have_tested(self, what: str, *args: Any) -> None:
        try:
            self._tester.do(what, *args, ask=self._ask, seconds=self._seconds + CALL_SECONDS)
        finally:
            self._call.close()
            if self._answering is not None:  # none but one may talk to its kernel
                self._answering.result()

    # -------- what the test asks

    def _ask(self, text: str) -> str:
        kind, words = text[:1], text[1:]
        if kind == "R":
            self._result = as_dict(json.loads(words))
            return ""
        if self._gone:
            return NO_ANSWER + self._gone
        if kind == "Q":
            self._call.close()
            self._call = _Call(self._seconds)
            self._answering = self._thread.submit(self._have_answered, words, self._call)
        else:
            self._call.give(words)
        try:
            return self._call.said.get(timeout=2 * self._seconds + LOST_SECONDS)
        except queue.Empty:
            self._gone = "the submission gave no answer"
            return NO_ANSWER + self._gone

    def _have_answered(self, request: str, call: _Call) -> None:
        """In a thread, as the submission may call back before it answers."""
        why = "the submission gave no answer"
        code = f"__import__('sys').modules['_moat_submission'].answer({request!r})"
        try:
            run_cell(self._kernel, code, lambda *message: None, call.options)
        except CellInterrupted as error:
            why = f"the submission took longer than {self._seconds:g} s"
            call.answer = ""
            if not error.stopped:
                why = self._gone = f"{why}, and did not stop, so its kernel was ended"
                self.too_long = f"in a test, {why}"
                self._kernel.signal_kernel(signal.SIGKILL)
        except MoatRemoteError as error:
            why = f"the submission gave no answer: {error}"
        except MoatError as error:
            why = self._gone = f"the submission's kernel has ended: {error}"
        call.said.put(call.answer or NO_ANSWER + why)


def _of_submission() -> str:
    return (
        as_module("_moat_values", "plain_values.py")
        + as_module("_moat_submission", "submission.py")
        + "sys.modules['_moat_submission'].answer = sys.modules['_moat_submission'].Submission("
        "get_ipython().user_ns, get_ipython().kernel.raw_input, sys.modules['_moat_values']"
        ").answer\n"
    )
