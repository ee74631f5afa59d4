"""Where the tests run: what stands there for an object of the submission's."""

from __future__ import annotations

from typing import Any

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
PREDICATES = frozenset(
    {name for kind in (str, set, float) for name in dir(kind) if name.startswith("is")}
    | {*("startswith", "endswith", "find", "rfind", "index", "rindex", "count")}
    | {*("all", "any", "equals", "empty", "eq", "ne", "lt", "le", "gt", "ge", "between")}
    | {*("isin", "isna", "isnull", "notna", "notnull", "duplicated", "hasnans")}
    | {f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge", "bool", "contains")}
)
"""What plain values, arrays and tables are asked about another, or for a truth."""

DECIDES = (
    "{what} of an object of the submission's ({type}) is for the submission to decide: a test "
    "looks at plain values (numbers, texts, lists, arrays, tables), and at objects that it made of "
    "classes that it names, each with a capital"
)
"""Such an object could say yes to whatever it is asked."""


class Unfair(BaseException):
    """What a test cannot decide by itself, nor its ``except Exception`` take for an answer."""


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

    def _moat_ask(self, do: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self._moat_submission.ask(do, *args, **kwargs)

    def _moat_must_be_plain(self, what: Any) -> None:
        if not self._moat_submission.may_decide(self):
            raise Unfair(DECIDES.format(what=what, type=self._moat_type))

    def _moat_operator(self, name: str, args: Any, what: Any) -> Any:
        if not all(isinstance(other, Remote) for other in args):
            self._moat_must_be_plain(what)
        return self._moat_ask(name, *args)

    def _moat_compare(self, name: str, other: Any) -> bool:
        if not any(self._moat_submission.may_decide(one) for one in _remotes(self, other)):
            self._moat_must_be_plain("a comparison")
        value = self._moat_ask(name, self, other)
        if type(value) is not bool:
            raise TypeError("a comparison of the submission's objects gave no bool")
        return value

    def _moat_from(self, value: Any, what: Any) -> Any:
        """What an attribute, or a method, of an object gives."""
        if _is_truth(value):
            self._moat_must_say(what)
        if isinstance(value, Function) and value._moat_class is None:
            # A method asks for its object, whatever the submission says that it is.
            return Function(value._moat_submission, value._moat_about, of=self)
        return value

    def _moat_must_say(self, what: Any) -> None:
        if not self._moat_submission.may_say(self):
            self._moat_must_be_plain(what)

    def __getattr__(self, name: str) -> Any:
        # By numpy's others, and pandas' own, an object would decide what an operation gives.
        if name.startswith(("_moat_", "__array_", "__pandas_")) and name != "__array__":
            raise AttributeError(name)
        if name in ("moat_remote", "_typ"):
            raise AttributeError(name)
        if name in PREDICATES:
            self._moat_must_say(f".{name}")
        return self._moat_from(self._moat_ask("getattr", self, name), f".{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        self._moat_ask("setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._moat_ask("delattr", self, name)

    def __eq__(self, other: Any) -> bool:
        return self._moat_compare("eq", other)

    def __ne__(self, other: Any) -> bool:
        return self._moat_compare("ne", other)

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

    def __mro_entries__(self, bases: Any) -> Any:
        raise Unfair("a test cannot derive a class from one of the submission's")


class Function(Remote):
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        try:
            value = self._moat_ask("call", self, *args, **kwargs)
        except StopIteration:
            if self._moat_of is None:  # it would end a loop of the test's, such as map's
                raise RuntimeError("the submission's function raised StopIteration") from None
            raise
        return value if self._moat_of is None else self._moat_of._moat_from(value, "a method")


def _remotes(*values: Any) -> list[Any]:
    return [value for value in values if isinstance(value, Remote)]


def _is_truth(value: Any) -> bool:
    """Whether it is a bool, or numpy's."""
    if isinstance(value, Remote):
        return False
    return type(value) is bool or getattr(getattr(value, "dtype", None), "kind", "") == "b"


def _forward(name: str) -> Any:
    if name in ("lt", "le", "gt", "ge"):
        return lambda self, other: self._moat_compare(name, other)
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
for _kind in (Remote, Function):  # each class has a text of its own
    _kind.__doc__ = property(lambda self: self._moat_ask("getattr", self, "__doc__"))  # type: ignore[assignment]
