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
import sys
import threading
import traceback
import types
from typing import Any

from .remote import Function, Remote, Unfair

MAX_WORDS = 4000
MAX_PRINTED = 20_000

SHARED = frozenset({"ndarray", "DataFrame", "Series"})
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)

RESULTS = {
    **{"repr": str, "str": str, "format": str, "int": int, "float": float, "complex": complex},
    **{"bytes": bytes, "len": int, "index": int, "contains": bool, "isinstance": bool},
    **{"issubclass": bool, "bool": bool},
}
"""What Python itself insists on."""


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


class Submission:
    """The other side of ``exchange(text)``, which has one request answered."""

    def __init__(self, exchange: Any, plain_values: Any) -> None:
        self._exchange = exchange
        self.requests = 0
        self._values = plain_values
        self._functions: list[Any] = []
        self._objects: dict[int, Any] = {}
        self.classes: Any = None
        """The names of those that a solution defines; None where there is none to read."""
        self._unfair: Any = None
        """What a function of the test's met, which the submission called and may have caught."""
        self.begin()

    def begin(self) -> None:
        """Have a test begin: what another was about is not what this one is about."""
        self._classes: set[Any] = set()
        """Numbers of those that the test's own code names."""
        self._made: set[Any] = set()
        """Numbers of their objects that the test has by a call of theirs, or from one of these."""
        self._unfair = None
        self._shared: dict[int, Any] = {}
        """By ``id``: a value of the submission's own, its name, and what it was written as."""

    def named(self, name: str) -> Any:
        """What the submission has under a name that a test's own code says."""
        value = self.ask("global", name)
        self._share(name, value)
        # A class under the name of a function would make objects that decide.
        is_class = isinstance(value, Remote) and value._moat_class is not None
        if is_class and name[:1].isupper() and (self.classes is None or name in self.classes):
            self._classes.add(value._moat_class)
        return value

    def _share(self, name: str, value: Any) -> None:
        """``value`` is the submission's own under ``name``: a call that is given it unchanged gets
        that one, and not a copy."""
        kind = type(value).__name__
        if isinstance(value, (list, dict, set, bytearray)) or kind in SHARED:
            self._shared[id(value)] = (value, name, self._written(value))

    def _written(self, value: Any) -> Any:
        return self._values.Writer(self._name).write(value)

    def _given(self, value: Any) -> Any:
        """What a call is given for an argument."""
        written = self._written(value)
        _, name, before = self._shared.get(id(value), (None, None, None))
        return {"k": "name", "v": {"global": name}} if name and written == before else written

    def may_decide(self, remote: Any) -> bool:
        """Whether it is an object that a test is about."""
        return remote._moat_number in self._made

    def may_say(self, remote: Any) -> bool:
        """Whether what its methods say is what a test is about."""
        return self.may_decide(remote) or remote._moat_class in self._classes

    def _note(self, source: Any, value: Any) -> None:
        """``value`` is what the test got from ``source``, an object of the submission's."""
        if not (isinstance(source, Remote) and isinstance(value, Remote)):
            return
        source = source if source._moat_of is None else source._moat_of
        if self.may_say(source) and value._moat_instance_of in self._classes:
            self._made.add(value._moat_number)

    def ask(self, do: Any, /, *args: Any, **kwargs: Any) -> Any:
        request = {
            "do": do,
            "args": [self._given(item) for item in args],
            "kwargs": {name: self._given(value) for name, value in kwargs.items()},
        }
        answer = self._answer(json.dumps(request))
        if self._unfair is not None:
            raise self._unfair
        sys.stdout.write(str(answer.get("printed", "")))
        if "raised" in answer:
            raise self._error(answer["raised"])
        if do == "call":
            self._renew({**dict(enumerate(args)), **kwargs}, answer.get("changed", ()))
        value = self._read(answer["value"])
        self._note(args[0], value)
        if do in RESULTS and type(value) is not RESULTS[do]:
            raise TypeError(f"{do}() of the submission's object gave no {RESULTS[do].__name__}")
        return value

    def _answer(self, request: Any) -> Any:
        self.requests += 1
        text = self._exchange("Q" + request)
        while text[:1] == "C":
            text = self._exchange("A" + self._called_back(text[1:]))
        if text[:1] != "D":
            raise Unfair(text[1:])
        if len(text) > self._values.LONGEST:
            raise Unfair("the submission's answer is larger than a test can look at")
        answer = json.loads(text[1:])
        if not isinstance(answer, dict):
            raise Unfair("the submission gave no answer")
        return answer

    def _read(self, value: Any) -> Any:
        try:
            return self._values.Reader(self._named).read(value)
        except Exception as error:
            raise Unfair(f"the submission gave no value that can be read: {error}") from None

    def _renew(self, given: Any, changed: Any) -> None:
        """Have what was given to a call be what the submission made of it."""
        for at, written in changed:
            value, after = given[at], self._read(written)
            if type(after) is not type(value):
                continue
            if isinstance(value, (list, bytearray)):
                value[:] = after
            elif isinstance(value, (dict, set)):
                value.clear()
                value.update(after)
            elif type(value).__name__ == "ndarray" and value.shape == after.shape:
                value[...] = after.astype(value.dtype)
            elif type(value).__name__ in ("DataFrame", "Series"):
                value._update_inplace(after)
            if id(value) in self._shared:
                self._share(self._shared[id(value)][1], value)

    def _called_back(self, text: str) -> str:
        try:
            request = json.loads(text)
            read = self._values.Reader(self._named).read
            args = [read(item) for item in request["args"]]
            kwargs = {name: read(value) for name, value in request["kwargs"].items()}
            value = self._functions[request["function"]](*args, **kwargs)
            answer = {"value": self._values.Writer(self._name).write(value)}
        except (Exception, Unfair) as error:
            if isinstance(error, Unfair):
                self._unfair = error
            answer = {"raised": {"type": type(error).__name__, "text": str(error)[:MAX_WORDS]}}
        return json.dumps(answer)

    def _name(self, value: Any) -> Any:
        if isinstance(value, Remote) or getattr(value, "moat_remote", None) is not None:
            remote = value if isinstance(value, Remote) else value.moat_remote
            return {"number": remote._moat_number}
        if not callable(value):
            raise TypeError(
                f"a {type(value).__name__} of the test's cannot be given to the submission; plain "
                "values, arrays, tables and functions can"
            )
        self._functions.append(value)
        return {"function": len(self._functions) - 1}

    def _named(self, about: Any) -> Any:
        number = about["number"]
        if about.get("module"):
            raise Unfair(
                f"{str(about['module'])[:100]} is a module that the submission has imported; "
                "import it in the test, or in a cell of the assignment"
            )
        if number not in self._objects:
            if isinstance(about.get("raised"), list):
                made = self._error_class(str(about["class"]), about["raised"], number)
            else:
                made = (Function if about.get("callable") is True else Remote)(self, about)
            self._objects[number] = made
        return self._objects[number]

    def _error_class(self, name: str, bases: Any, number: Any) -> Any:
        remote = Function(self, {"number": number, "type": "type"})
        body = {"moat_remote": remote, "__new__": lambda cls, *args: _base(bases).__new__(cls)}
        body["__module__"] = "__main__"
        return type(name, (_base(bases),), body)

    def _error(self, raised: Any) -> Any:
        bases, text = raised["bases"], str(raised["text"])[:MAX_WORDS]
        own = raised.get("own")
        kind = _base(bases) if own is None else self._named(own)
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            return Unfair(f"the submission raised {str(raised['type'])[:100]}: {text}")
        error = kind.__new__(kind)
        error.args = (text,)
        return error


def _base(names: Any) -> Any:
    """The nearest class of Python's own that may be raised here in a submission's name."""
    for name in names:
        kind = getattr(builtins, str(name), None)
        if isinstance(kind, type) and issubclass(kind, BaseException):
            if issubclass(kind, Exception) and not issubclass(kind, UnicodeError):
                return kind
            return Unfair if not issubclass(kind, Exception) else ValueError
    return Unfair


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
