"""In a sandbox of its own, where no submission is: runs tests over what a submission answers.

Names that a test does not define are the submission's. What it gets for one is a plain value, or
something that stands for the submission's object: each use of it is asked for there, and what comes
back is plain again. So a test compares, counts and ends in a Python that no submission has touched.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import doctest
import io
import json
import numbers
import os
import signal
import threading
import traceback
import types
from typing import Any

from .asking import MAX_WORDS, Submission
from .remote import Remote, Unfair

MAX_PRINTED = 20_000

FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)


class Names(dict):  # type: ignore[type-arg]  # nor has Python 3.8 it
    """A test's globals, which fetch from the submission what they have not."""

    def __init__(self, submission: Any) -> None:
        super().__init__(__name__="__main__", __builtins__=builtins)
        self._submission = submission
        self.asked: Any = ()
        """Names of Python's own that are nevertheless the submission's."""
        self.bound: Any = ()
        """Names that the tests bind themselves: no submission is asked for them."""
        self.solved: Any = ()
        """Names that a submission is to bind, and that tests change there."""

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name) and name not in self.asked:
            raise KeyError(name)
        if name == "get_ipython":
            return self.shell
        if name in self.bound:
            raise NameError(f"{name} is not there: what makes it, in the tests, has not run")
        return self._submission.named(name)

    def begin(self) -> None:
        """Have a test begin: what an earlier one bound may be an answer of the submission's now."""
        for name in self.solved:
            self.pop(name, None)

    def shell(self) -> Any:
        """IPython's, for a test that has its commands; most need none, and its import takes
        long. What fails in a cell of its cells fails the test."""
        from IPython.core.interactiveshell import InteractiveShell

        if not InteractiveShell.initialized():
            shell: Any = InteractiveShell.instance(user_ns=self)
            run = shell.run_cell
            shell.run_cell = lambda *args, **kwargs: _succeeded(run(*args, **kwargs))
        return InteractiveShell.instance()

    def __setitem__(self, name: str, value: Any) -> None:
        """A function goes to the submission too, in place of its own; no plain value does, as that
        may be what is expected of it."""
        super().__setitem__(name, value)
        if name in self.solved and isinstance(value, (Remote, *FUNCTIONS)):
            self._submission.ask("set_global", name, value)

    def __delitem__(self, name: str) -> None:
        had = self.pop(name, self) is not self
        if name not in self.solved:
            if not had:
                raise KeyError(name)
            return
        with contextlib.suppress(*(NameError,) if had else ()):
            self._submission.ask("delete_global", name)


class Tester:
    """``ask(text)`` hands a text to whoever runs this, and gives the answer."""

    def __init__(self, ask: Any, plain_values: Any, transform: Any) -> None:
        self._ask = ask
        self._transform = transform
        self._submission = Submission(ask, plain_values)
        self.names = Names(self._submission)

    def name(self, asked: Any, bound: Any, solved: Any, classes: Any = None) -> None:
        """Say whose names are whose; see :class:`Names`."""
        self.names.asked, self.names.bound = frozenset(asked), frozenset(bound)
        self.names.solved, self._submission.classes = frozenset(solved), classes

    def prepare(self, sources: Any) -> None:
        """Run what tests stand on, such as imports; say what failed for no fault of the
        submission's, which was not asked: what fails for its is found out by the test."""
        why = ""
        for source in sources:
            requests = self._submission.requests
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    self._code("assignment", source)
            except BaseException as error:
                if self._submission.requests == requests:
                    why = why or _words(error, "assignment", source)
        self._ask("R" + json.dumps({"passed": not why, "why": why[:MAX_WORDS]}))

    def run(self, name: str, source: str, form: Any) -> None:
        """Run one test; says whether it came to its end, and if not why; and the number that a
        cell ended in, which is the points that it gives."""
        printed = io.StringIO()
        self._submission.begin()
        self.names.begin()
        why, value = "", None
        try:
            with contextlib.redirect_stdout(printed):
                value = _number(getattr(self, f"_{form}")(name, source))
        except BaseException as error:
            why = _words(error, name, source) or "failed"
        said = {"passed": not why, "why": why[:MAX_WORDS], "value": value}
        self._ask("R" + json.dumps({**said, "printed": printed.getvalue()[:MAX_PRINTED]}))

    def _code(self, name: str, source: str) -> None:
        exec(compile(self._transform(source), f"<{name}>", "exec"), self.names)

    def _cell(self, name: str, source: str) -> Any:
        """The value that a notebook would show below it."""
        body = ast.parse(self._transform(source), f"<{name}>").body
        if not (body and isinstance(body[-1], ast.Expr)) or source.rstrip().endswith(";"):
            return self._code(name, source)
        before = ast.Module(body=body[:-1], type_ignores=[])
        exec(compile(before, f"<{name}>", "exec"), self.names)
        return eval(compile(ast.Expression(body[-1].value), f"<{name}>", "eval"), self.names)

    def _doctest(self, name: str, source: str) -> None:
        test = doctest.DocTestParser().get_doctest(source, {}, name, None, 0)
        test.globs = self.names
        out = io.StringIO()
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
        failed, _ = runner.run(test, out=out.write, clear_globs=False)
        if failed:
            raise AssertionError(out.getvalue())


def _succeeded(result: Any) -> Any:
    result.raise_error()
    return result


def serve(plain_values: Any) -> None:
    """Do what each line says, which moat_nb/grading/tests_process.py writes."""
    # What tests print, or have programs print, is none of this.
    out, lines = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(0))
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    asked = 0
    alone = threading.Lock()

    def answer(number: int) -> str:
        """An interrupt may have come before the answer to another question."""
        while True:
            line = lines.readline()
            if not line:
                raise SystemExit
            at, _, text = line[:-1].partition(" ")
            if at == str(number):
                return text

    def ask(text: str) -> str:
        nonlocal asked
        with alone:  # a test may have threads
            asked += 1
            print(f"{asked} {text}", file=out, flush=True)
            return answer(asked)

    def transform(source: str) -> str:
        """Python, where a cell has what IPython alone understands."""
        try:
            ast.parse(source)
        except SyntaxError:
            source = tester.names.shell().transform_cell(source)
        return source

    tester = Tester(ask, plain_values, transform)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        number, what, args = json.loads(answer(0))
        # An interrupt is for what is done now, and may come when that is over.
        try:
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                getattr(tester, what)(*args)
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(f". {number}", file=out, flush=True)


def _number(value: Any) -> Any:
    """Itself where it is one of Python's or numpy's; None for all else."""
    kind = type(value)  # what stands for a submission's object may not say what it is
    return float(value) if issubclass(kind, numbers.Real) and value is not bool(value) else None


def _words(error: Any, name: str, source: str) -> str:
    """What went wrong, and in which line of the test."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, Unfair):  # our own words, and no reproach
        said = str(error)
    lines = source.splitlines()
    at = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == f"<{name}>":
            at = line
    if at is None or not 0 < at <= len(lines):
        return said
    return f"line {at}: {lines[at - 1].strip()}\n{said}"
