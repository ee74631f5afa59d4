"""In a kernel of its own, where no submission is: runs tests over what a submission answers.

Names that a test does not define are the submission's. What it gets for one is a plain value, or
something that stands for the submission's object: each use of it is asked for there, and what comes
back is plain again. So a test compares, counts and ends in a Python that no submission has touched.
"""

from __future__ import annotations

import builtins
import contextlib
import doctest
import io
import json
import traceback
from typing import Any

MAX_WORDS = 4000
MAX_PRINTED = 20_000

FORWARD = (
    *("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift"),
    *("lt", "le", "gt", "ge"),
    *("iadd", "isub", "imul", "imatmul", "itruediv", "ifloordiv", "imod", "ipow"),
)
BACKWARD = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow")
NAMED_OTHERWISE = {"and": "and_", "or": "or_", "xor": "xor"}
UNARY = {
    **{name: name for name in ("neg", "pos", "invert", "len", "iter", "next", "reversed")},
    **{name: name for name in ("repr", "str", "int", "float", "complex", "round", "abs")},
    **{name: name for name in ("bytes", "dir", "enter", "index")},
}
RESULTS = {
    **{"repr": str, "str": str, "format": str, "int": int, "float": float, "complex": complex},
    **{"bytes": bytes, "len": int, "index": int, "contains": bool, "isinstance": bool},
    **{"issubclass": bool, "bool": bool},
}
"""What Python itself insists on."""

DECIDES = (
    "{what} of an object of the submission's ({type}) is for the submission to decide: a test "
    "looks at plain values (numbers, texts, lists, arrays, tables), and at objects of classes that "
    "it names"
)
"""Such an object could say yes to whatever it is asked."""


class Unfair(Exception):
    """What a test cannot decide by itself."""


class Names(dict[str, Any]):
    """A test's globals, which fetch from the submission what they have not."""

    def __init__(self, submission: Any) -> None:
        super().__init__(__name__="__main__", __builtins__=builtins)
        self._submission = submission

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            raise KeyError(name)
        return self._submission.named(name)


class Submission:
    """The other side of ``exchange(text)``, which has one request answered."""

    def __init__(self, exchange: Any, plain_values: Any) -> None:
        self._exchange = exchange
        self._values = plain_values
        self._functions: list[Any] = []
        self._objects: dict[int, Any] = {}
        self._classes: set[int] = set()
        """Numbers of those that the assignment's own code names."""

    def named(self, name: str) -> Any:
        """What the submission has under a name that a test's own code says."""
        value = self.ask("global", name)
        if isinstance(value, Remote) and value._moat_class is not None:
            self._classes.add(value._moat_class)
        return value

    def may_decide(self, remote: Any) -> Any:
        """Whether it is an object that a test is about."""
        return bool({remote._moat_class, remote._moat_instance_of} & self._classes - {None})

    def ask(self, do: Any, *args: Any, **kwargs: Any) -> Any:
        writer = self._values.Writer(self._name)
        request = {
            "do": do,
            "args": [writer.write(item) for item in args],
            "kwargs": {name: writer.write(value) for name, value in kwargs.items()},
        }
        answer = self._answer(json.dumps(request))
        print(str(answer.get("printed", "")), end="")
        if "raised" in answer:
            raise self._error(answer["raised"])
        self._renew(args, answer.get("changed", ()))
        value = self._read(answer["value"])
        if do in RESULTS and type(value) is not RESULTS[do]:
            raise TypeError(f"{do}() of the submission's object gave no {RESULTS[do].__name__}")
        return value

    def _answer(self, request: Any) -> Any:
        text = self._exchange("Q" + request)
        while text[:1] == "C":
            text = self._exchange("A" + self._called_back(text[1:]))
        if text[:1] != "D":
            raise Unfair(text[1:])
        answer = json.loads(text[1:])
        if not isinstance(answer, dict):
            raise Unfair("the submission gave no answer")
        return answer

    def _read(self, value: Any) -> Any:
        try:
            return self._values.Reader(self._named).read(value)
        except Unfair:
            raise
        except Exception as error:
            raise Unfair(f"the submission gave no value that can be read: {error}") from None

    def _renew(self, args: Any, changed: Any) -> None:
        """Have what was given to a call be what the submission made of it."""
        for at, written in changed:
            value, after = args[at], self._read(written)
            if type(after) is not type(value):
                continue
            if isinstance(value, (list, bytearray)):
                value[:] = after
            elif isinstance(value, (dict, set)):
                value.clear()
                value.update(after)
            elif type(value).__name__ == "ndarray" and value.shape == after.shape:
                value[...] = after.astype(value.dtype)

    def _called_back(self, text: str) -> str:
        try:
            request = json.loads(text)
            read = self._values.Reader(self._named).read
            args = [read(item) for item in request["args"]]
            kwargs = {name: read(value) for name, value in request["kwargs"].items()}
            value = self._functions[request["function"]](*args, **kwargs)
            answer = {"value": self._values.Writer(self._name).write(value)}
        except Exception as error:
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


class Remote:
    """An object of the submission's."""

    def __init__(self, submission: Any, about: Any, of: Any = None) -> None:
        is_class = isinstance(about.get("class"), str)
        self.__dict__.update(
            _moat_submission=submission,
            _moat_about=about,
            _moat_number=about["number"],
            _moat_type=str(about["type"])[:100],
            _moat_class=about["number"] if is_class else None,
            _moat_instance_of=about.get("instance_of"),
            _moat_of=of,
        )

    def _moat_ask(self, do: Any, *args: Any, **kwargs: Any) -> Any:
        return self._moat_submission.ask(do, *args, **kwargs)

    def _moat_must_be_plain(self, what: Any) -> None:
        if not self._moat_submission.may_decide(self):
            raise Unfair(DECIDES.format(what=what, type=self._moat_type))

    def _moat_operator(self, name: str, args: Any, what: Any) -> Any:
        if not all(isinstance(other, Remote) for other in args):
            self._moat_must_be_plain(what)
        return self._moat_ask(name, *args)

    def _moat_from(self, value: Any, what: Any) -> Any:
        """What an attribute, or a method, of an object gives."""
        if type(value) is bool:
            self._moat_must_be_plain(what)
        if isinstance(value, Remote) and value._moat_class is None:
            # A method asks for its object, whatever the submission says that it is.
            return type(value)(value._moat_submission, value._moat_about, of=self)
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_moat_") or name == "moat_remote":
            raise AttributeError(name)
        return self._moat_from(self._moat_ask("getattr", self, name), f".{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        self._moat_ask("setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._moat_ask("delattr", self, name)

    def __eq__(self, other: Any) -> bool:
        return _decided(self._moat_operator("eq", (self, other), "a comparison"))

    def __ne__(self, other: Any) -> bool:
        return _decided(self._moat_operator("ne", (self, other), "a comparison"))

    def __hash__(self) -> int:
        return hash(self._moat_number)

    def __bool__(self) -> bool:
        self._moat_must_be_plain("the truth")
        return bool(self._moat_ask("bool", self))

    def __contains__(self, item: Any) -> bool:
        self._moat_must_be_plain("`in`")
        return bool(self._moat_ask("contains", self, item))

    def __getitem__(self, key: Any) -> Any:
        return self._moat_from(self._moat_ask("getitem", self, key), "an item")

    def __setitem__(self, key: Any, value: Any) -> None:
        self._moat_ask("setitem", self, key, value)

    def __delitem__(self, key: Any) -> None:
        self._moat_ask("delitem", self, key)

    def __format__(self, how: Any) -> str:
        return str(self._moat_ask("format", self, how))

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, Remote) and self._moat_ask("isinstance", value, self)

    def __subclasscheck__(self, value: Any) -> bool:
        return isinstance(value, Remote) and self._moat_ask("issubclass", value, self)

    def __exit__(self, *how: Any) -> None:
        self._moat_ask("exit", self)


class Function(Remote):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        value = self._moat_ask("call", self, *args, **kwargs)
        return value if self._moat_of is None else self._moat_of._moat_from(value, "a method")


def _decided(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError("a comparison of the submission's objects gave no bool")
    return value


def _forward(name: str) -> Any:
    if name in ("lt", "le", "gt", "ge"):
        return lambda self, other: _decided(
            self._moat_operator(name, (self, other), "a comparison")
        )
    do = NAMED_OTHERWISE.get(name, name)
    return lambda self, other: self._moat_operator(do, (self, other), "an operator")


def _backward(name: str) -> Any:
    return lambda self, other: self._moat_operator(name, (other, self), "an operator")


def _unary(name: str) -> Any:
    return lambda self, *args: self._moat_ask(name, self, *args)


for _name in (*FORWARD, *NAMED_OTHERWISE):
    setattr(Remote, f"__{_name}__", _forward(_name))
for _name in BACKWARD:
    setattr(Remote, f"__r{_name}__", _backward(_name))
for _name in UNARY:
    setattr(Remote, f"__{_name}__", _unary(_name))


class Tester:
    """``ask(text)`` hands a text to whoever runs this, and gives the answer."""

    def __init__(self, ask: Any, plain_values: Any, transform: Any) -> None:
        self._ask = ask
        self._transform = transform
        self.names = Names(Submission(ask, plain_values))

    def prepare(self, sources: Any) -> None:
        """Run what tests stand on, such as imports; what fails is found out by the test."""
        for source in sources:
            with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
                exec(compile(self._transform(source), "<assignment>", "exec"), self.names)

    def run(self, name: str, source: str, form: Any) -> None:
        """Run one test; says whether it came to its end, and if not why."""
        printed = io.StringIO()
        why = ""
        try:
            with contextlib.redirect_stdout(printed):
                getattr(self, f"_{form}")(name, source)
        except BaseException as error:
            why = _words(error, name, source) or "failed"
        said = {"passed": not why, "why": why[:MAX_WORDS]}
        self._ask("R" + json.dumps({**said, "printed": printed.getvalue()[:MAX_PRINTED]}))

    def _code(self, name: str, source: str) -> None:
        exec(compile(self._transform(source), f"<{name}>", "exec"), self.names)

    def _doctest(self, name: str, source: str) -> None:
        test = doctest.DocTestParser().get_doctest(source, {}, name, None, 0)
        test.globs = self.names
        out = io.StringIO()
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
        failed, _ = runner.run(test, out=out.write, clear_globs=False)
        if failed:
            raise AssertionError(out.getvalue())


def _words(error: Any, name: str, source: str) -> str:
    """What went wrong, and in which line of the test."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    lines = source.splitlines()
    at = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == f"<{name}>":
            at = line
    if at is None or not 0 < at <= len(lines):
        return said
    return f"line {at}: {lines[at - 1].strip()}\n{said}"
