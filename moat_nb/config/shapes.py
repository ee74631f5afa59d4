"""What may stand at a key of moat.yaml, said once for the parser and for the schema.

A section of the file is a subclass of :class:`Keys` with one :func:`key` for each key. A shape has
two sides: ``read`` takes a value through a cursor, which notes what is wrong with it, and
``schema`` says the same in JSON Schema's words (draft 7). A schema sees values as editors do
(YAML 1.2), where ``3.10`` is a number and ``yes`` a string, so it lets a string be a number and a
boolean be one of YAML 1.1's words, as the parser does.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar, overload

from moat_nb.config.cursor import BOOLEANS, Cursor

__all__ = [
    "Anything",
    "Block",
    "Boolean",
    "Choice",
    "Either",
    "Field",
    "Integer",
    "Keys",
    "ListOf",
    "MapOf",
    "Number",
    "Shape",
    "Text",
    "Word",
    "key",
    "keys_schema",
]

_V = TypeVar("_V")
_D = TypeVar("_D")
_C = TypeVar("_C", bound=str)

Schema: TypeAlias = "dict[str, Any]"

# What editors take for a number or a boolean is text where a string is due.
_SCALARS = {"number": "1.5", "integer": "1", "boolean": "true"}


class Shape(ABC, Generic[_V]):
    """What a value may be. ``_V``: what it is read as."""

    @abstractmethod
    def read(self, cursor: Cursor, default: _D) -> _V | _D:
        """The value; ``default`` when none is given, or, with a problem noted, a wrong one."""

    @abstractmethod
    def schema(self) -> Schema:
        """The JSON Schema of a value that is given."""

    @property
    def nullable(self) -> bool:
        """Whether null, which counts as not given, passes too."""
        return True


@dataclass(frozen=True, kw_only=True)
class Text(Shape[str]):
    """A string. ``form`` is for the schema; the key's reader says what is wrong in more words."""

    empty: bool = False
    form: re.Pattern[str] | None = None

    def read(self, cursor: Cursor, default: _D) -> str | _D:
        return cursor.text(default, empty=self.empty)

    def schema(self) -> Schema:
        if self.form is not None:
            return _matching(self.form)
        least: Schema = {} if self.empty else {"minLength": 1}
        return {"type": ["string", "number", "boolean"], **least}


@dataclass(frozen=True, kw_only=True)
class Word(Shape[str]):
    """A string that ``pattern`` matches as a whole; ``rule`` says the same to a person."""

    pattern: re.Pattern[str]
    rule: str

    def read(self, cursor: Cursor, default: _D) -> str | _D:
        return cursor.matching(default, self.pattern, self.rule)

    def schema(self) -> Schema:
        return _matching(self.pattern)


@dataclass(frozen=True, kw_only=True)
class Choice(Shape[_C]):
    """One of a few words. ``empty``: an empty string counts as not given."""

    options: Sequence[_C]
    empty: bool = False

    def read(self, cursor: Cursor, default: _D) -> _C | _D:
        if self.empty and not cursor.text("", empty=True):
            return default
        word = cursor.choice(self.options)
        return default if word is None else word

    def schema(self) -> Schema:
        return {"enum": [*self.options, *([""] if self.empty else [])]}


@dataclass(frozen=True, kw_only=True)
class Integer(Shape[int]):
    minimum: int
    maximum: int
    zero: bool = False
    """0 counts as not given, as in Moat."""
    unit: str = ""
    """Of what, for who has written another one."""

    def read(self, cursor: Cursor, default: _D) -> int | _D:
        if self.zero and cursor.is_zero:
            return default
        return cursor.integer(default, minimum=self.minimum, maximum=self.maximum, unit=self.unit)

    def schema(self) -> Schema:
        schema = {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}
        nothing = {"type": "integer", "minimum": 0, "maximum": 0}
        return {"anyOf": [nothing, schema]} if self.zero else schema


@dataclass(frozen=True, kw_only=True)
class Number(Shape[float]):
    """A number above 0."""

    maximum: float
    zero: bool = False
    """0 counts as not given, as in Moat."""

    def read(self, cursor: Cursor, default: _D) -> float | _D:
        if self.zero and cursor.is_zero:
            return default
        return cursor.number(default, maximum=self.maximum)

    def schema(self) -> Schema:
        least = "minimum" if self.zero else "exclusiveMinimum"
        return {"type": "number", least: 0, "maximum": self.maximum}


@dataclass(frozen=True, kw_only=True)
class Boolean(Shape[bool]):
    def read(self, cursor: Cursor, default: _D) -> bool | _D:
        return cursor.boolean(default)

    def schema(self) -> Schema:
        # A pattern and no enum: an editor offers true and false, and takes the others.
        words = "|".join(word for word in BOOLEANS if word.lower() not in {"true", "false"})
        return {"type": ["boolean", "string"], "pattern": f"^(?:{words})$"}


@dataclass(frozen=True, kw_only=True)
class ListOf(Shape["tuple[_V, ...]"]):
    """A list, each item of which must have a value."""

    item: Shape[_V]

    def read(self, cursor: Cursor, default: _D) -> tuple[_V, ...] | _D:
        read = (self.item.read(item, None) for item in cursor.items())
        return tuple(value for value in read if value is not None)

    def schema(self) -> Schema:
        return {"type": "array", "items": self.item.schema()}


class _Structure(Shape[Cursor]):
    """Read as the cursor itself: what stands inside has a reader of its own."""

    def read(self, cursor: Cursor, default: _D) -> Cursor:
        return cursor


@dataclass(frozen=True, kw_only=True)
class Anything(_Structure):
    """What another program reads."""

    def schema(self) -> Schema:
        return {}


@dataclass(frozen=True)
class Block(_Structure):
    """A mapping with the keys of one section and no others."""

    keys: type[Keys]

    def schema(self) -> Schema:
        return {**keys_schema(self.keys), "additionalProperties": False}

    @property
    def nullable(self) -> bool:
        return not any(field.required for field in self.keys.fields())


@dataclass(frozen=True, kw_only=True)
class MapOf(_Structure):
    """A mapping whose keys the user names, as ``names`` has it, ``value`` at each.

    ``known`` are names with a value of their own. Without ``value`` there are no others.
    ``required``: each name must have a value.
    """

    names: re.Pattern[str] | None = None
    value: Shape[Any] | None = None
    known: Mapping[str, Shape[Any]] = field(default_factory=dict)
    required: bool = False

    def schema(self) -> Schema:
        schema: Schema = {"type": "object"}
        if self.known:
            schema["properties"] = {name: self._value(known) for name, known in self.known.items()}
        if self.names is not None:
            schema["propertyNames"] = {"pattern": _whole(self.names)}
        schema["additionalProperties"] = self._value(self.value) if self.value else False
        return schema

    def _value(self, shape: Shape[Any]) -> Schema:
        return shape.schema() if self.required else _or_null(shape)


@dataclass(frozen=True)
class Either(_Structure):
    """One of several shapes."""

    shapes: tuple[Shape[Any], ...]

    def schema(self) -> Schema:
        return {"anyOf": [shape.schema() for shape in self.shapes]}


@dataclass(frozen=True, kw_only=True)
class Field(Generic[_V, _D]):
    """One key of a section; ``about`` says in a line what it does."""

    name: str = field(default="", init=False)
    """As it stands in the file: the name of the class's attribute."""
    shape: Shape[_V]
    about: str
    default: _D
    required: bool = False

    def __set_name__(self, owner: type, name: str) -> None:
        # One field may stand in several sections, always by the same name.
        assert self.name in {"", name}
        object.__setattr__(self, "name", name)

    def read(self, cursor: Cursor) -> _V | _D:
        if self.required and not cursor.require():
            return self.default
        return self.shape.read(cursor, self.default)

    def schema(self) -> Schema:
        schema = self.shape.schema() if self.required else _or_null(self.shape)
        default = {} if self.default is None else {"default": self.default}
        return {"description": self.about, **schema, **default}


@overload
def key(shape: Shape[_V], about: str, *, required: bool = False) -> Field[_V, None]: ...
@overload
def key(shape: Shape[_V], about: str, *, default: _V) -> Field[_V, _V]: ...
def key(
    shape: Shape[Any], about: str, *, default: Any = None, required: bool = False
) -> Field[Any, Any]:
    """A key of a section; read as ``default`` where the file does not give it."""
    return Field(shape=shape, about=about, default=default, required=required)


class Keys:
    """A section of the file: each attribute is a :class:`Field`. Never instantiated."""

    @classmethod
    def fields(cls) -> tuple[Field[Any, Any], ...]:
        return tuple(value for value in vars(cls).values() if isinstance(value, Field))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in cls.fields())


def keys_schema(keys: type[Keys]) -> Schema:
    """A mapping with these keys; nothing is said of others."""
    required = [field.name for field in keys.fields() if field.required]
    return {
        "type": "object",
        "properties": {field.name: field.schema() for field in keys.fields()},
        **({"required": required} if required else {}),
    }


def _or_null(shape: Shape[Any]) -> Schema:
    schema = shape.schema()
    if not shape.nullable or not schema:
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    types = schema["type"]
    return {**schema, "type": [*(types if isinstance(types, list) else [types]), "null"]}


def _matching(pattern: re.Pattern[str]) -> Schema:
    scalars = [kind for kind, text in _SCALARS.items() if pattern.fullmatch(text)]
    if "number" in scalars:
        scalars.remove("integer")
    return {"type": ["string", *scalars] if scalars else "string", "pattern": _whole(pattern)}


def _whole(pattern: re.Pattern[str]) -> str:
    """``pattern`` for a schema, which searches, in ECMAScript's syntax, where groups differ."""
    return f"^(?:{re.sub(r'[(][?]P<[a-z_]+>', '(', pattern.pattern)})$"
