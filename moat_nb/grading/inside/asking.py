"""Where the tests run: has a submission asked, and reads what it answers.

What comes back is data, of which plain values are made here; the rest has something that stands for
it. Nothing of a submission's decides how a test ends.
"""

from __future__ import annotations

import builtins
import json
import sys
from typing import Any

from .remote import Function, Remote, Unfair

__all__ = ["MAX_WORDS", "Submission"]

MAX_WORDS = 4000

RESULTS = {
    **{"repr": str, "str": str, "format": str, "int": int, "float": float, "complex": complex},
    **{"bytes": bytes, "len": int, "index": int, "contains": bool, "isinstance": bool},
    **{"issubclass": bool, "bool": bool},
}
"""What Python itself insists on."""

SHARED = frozenset({"ndarray", "DataFrame", "Series"})


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
