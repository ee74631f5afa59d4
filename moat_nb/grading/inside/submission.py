"""In a submission's kernel: answers what a test asks of it.

The submission can change all of this, and gains nothing by it: what it answers are values, and
what is expected of them is never here.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import operator
import sys
from typing import Any

MAX_PRINTED = 100_000
"""Characters of what one call prints."""
MAX_WORDS = 2000

OPERATORS = (
    *("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift"),
    *("and_", "or_", "xor", "neg", "pos", "invert", "eq", "ne", "lt", "le", "gt", "ge"),
    *("getitem", "setitem", "delitem", "contains", "index"),
    *("iadd", "isub", "imul", "imatmul", "itruediv", "ifloordiv", "imod", "ipow"),
)
BUILTINS = (
    *("getattr", "setattr", "delattr", "isinstance", "issubclass", "len", "iter", "next"),
    *("reversed", "repr", "str", "int", "float", "complex", "round", "abs", "bytes", "format"),
    *("dir", "bool"),
)


class Submission:
    """What of this kernel a test has got a name for."""

    def __init__(self, names: Any, ask: Any, plain_values: Any) -> None:
        self._globals = names
        self._ask = ask
        self._known: list[Any] = []
        self._values = plain_values
        self._do = {name: getattr(operator, name) for name in OPERATORS}
        self._do.update((name, getattr(builtins, name)) for name in BUILTINS)
        self._do["call"] = lambda function, /, *args, **kwargs: function(*args, **kwargs)
        self._do["global"] = self._global
        self._do["set_global"] = names.__setitem__
        self._do["delete_global"] = self._delete_global
        self._do["enter"] = lambda manager: type(manager).__enter__(manager)
        self._do["exit"] = lambda manager: type(manager).__exit__(manager, None, None, None)

    def answer(self, text: str) -> None:
        """Do what a request asks for, and say what became of it."""
        printed = io.StringIO()
        reader, writer = self._values.Reader(self._named), self._values.Writer(self._name)
        try:
            request = json.loads(text)
            args, kwargs = request["args"], request["kwargs"]
            arguments = [reader.read(item) for item in args]
            named = {name: reader.read(item) for name, item in kwargs.items()}
            with contextlib.redirect_stdout(printed):
                value = self._do[request["do"]](*arguments, **named)
            given = [(at, item, arguments[at]) for at, item in enumerate(args)]
            given += [(name, item, named[name]) for name, item in kwargs.items()]
            answer = {"value": writer.write(value), "changed": self._changed(given)}
        except BaseException as error:
            answer = {"raised": self._raised(error)}
        answer["printed"] = printed.getvalue()[:MAX_PRINTED]
        try:
            text = json.dumps(answer)
            if len(text) >= self._values.LONGEST:
                raise ValueError("the value is larger than a test can look at")
        except ValueError as error:
            text = json.dumps({"raised": self._raised(error), "printed": ""})
        self._ask("D" + text)

    def _global(self, name: str) -> Any:
        if name not in self._globals:
            raise NameError(f"the submission has no {name}")
        return self._globals[name]

    def _delete_global(self, name: str) -> None:
        self._global(name)
        del self._globals[name]

    def _changed(self, given: Any) -> Any:
        """What became of the lists and the like that a call was given."""
        changed = []
        for at, before, value in given:
            if isinstance(value, (list, dict, set, bytearray)) or hasattr(value, "shape"):
                after = self._values.Writer(self._name).write(value)
                if after != before:  # as it always is where a value of its own was named
                    changed.append([at, after])
        return changed

    def _raised(self, error: Any) -> Any:
        kind = type(error)
        bases = [base.__name__ for base in kind.__mro__ if base.__module__ == "builtins"]
        # A KeyError's text is what its argument is written as, and is made of it again there.
        is_text = isinstance(error, KeyError) and [type(one) for one in error.args] == [str]
        text = str(error.args[0] if is_text else error)[:MAX_WORDS]
        own = None if kind.__module__ == "builtins" else self._name(kind)
        return {"type": kind.__name__, "bases": bases, "text": text, "own": own}

    def _name(self, value: Any) -> Any:
        """A name for a value that is not plain; the same for the same value."""
        number = next((at for at, known in enumerate(self._known) if known is value), None)
        if number is None:
            number = len(self._known)
            self._known.append(value)
        about = {"number": number, "type": type(value).__name__, "callable": callable(value)}
        if isinstance(value, type(sys)):
            about["module"] = value.__name__
        if not isinstance(value, type):
            about["instance_of"] = self._name(type(value))["number"]
        else:
            about["class"] = value.__name__
            if issubclass(value, BaseException):
                mro = value.__mro__
                about["raised"] = [base.__name__ for base in mro if base.__module__ == "builtins"]
        return about

    def _named(self, about: Any) -> Any:
        """What a test means: something that it was given a name for, or a function of its own."""
        if "number" in about:
            return self._known[about["number"]]
        if "global" in about:
            return self._global(about["global"])
        return lambda *args, **kwargs: self._call_back(about["function"], args, kwargs)

    def _call_back(self, function: Any, args: Any, kwargs: Any) -> Any:
        writer, reader = self._values.Writer(self._name), self._values.Reader(self._named)
        request = {
            "function": function,
            "args": [writer.write(item) for item in args],
            "kwargs": {name: writer.write(value) for name, value in kwargs.items()},
        }
        answer = json.loads(self._ask("C" + json.dumps(request)))
        if "raised" in answer:
            kind = getattr(builtins, answer["raised"]["type"], RuntimeError)
            raise kind(answer["raised"]["text"])
        return reader.read(answer["value"])
