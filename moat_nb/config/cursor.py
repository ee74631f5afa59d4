"""A cursor over a document's nodes: typed getters that collect problems and go on.

Text means what Moat's own reader (Go's yaml.v3, decoding into typed fields) takes it for:

- a string field takes any scalar as it is written, so ``python: 3.10`` stays ``3.10``;
- a boolean field takes true and false, and YAML 1.1's y, yes, on, n, no and off;
- a number field takes a plain decimal number, never one in quotes;
- a key without a value (null) counts as not given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from moat_nb.config.yaml_nodes import Node, Problems, nearest, shown

__all__ = ["BOOLEANS", "Cursor", "Fields", "Readable"]

_D = TypeVar("_D")
_C = TypeVar("_C", bound=str)
_V = TypeVar("_V")
_V_co = TypeVar("_V_co", covariant=True)

BOOLEANS = dict.fromkeys(("true", "True", "TRUE", "y", "Y", "yes", "on"), True) | dict.fromkeys(
    ("false", "False", "FALSE", "n", "N", "no", "off"), False
)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"[-+]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})")


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """One place of the file: a value, or the place where one could stand.

    Each getter returns its ``default`` when nothing is given, and also, with a problem noted,
    when what is given is wrong: the parse goes on, to show all problems at once.
    """

    problems: Problems
    path: str
    """For the user: ``mounts[0].source``; empty for the file itself."""
    node: Node | None
    """None: not in the file."""
    anchor: Node
    """Node to report: the key; else the value; else the parent that lacks the key."""

    @property
    def where(self) -> str:
        """``file:line:column`` of the value."""
        return self.problems.where(self.node or self.anchor)

    @property
    def key_where(self) -> str:
        """``file:line:column`` of the key."""
        return self.problems.where(self.anchor)

    @property
    def given(self) -> bool:
        return self.node is not None and not self.node.is_null

    @property
    def is_zero(self) -> bool:
        return self.node is not None and self.node.plain and self.node.text == "0"

    def fail(self, what: str, hint: str = "") -> None:
        self.problems.add(self.where, f"{self.path}: {what}" if self.path else what, hint)

    def require(self) -> bool:
        """Whether a value is given; a problem when not."""
        if not self.given:
            self.fail("missing", "give it a value")
        return self.given

    def text(self, default: _D, *, empty: bool = False) -> str | _D:
        node = self._of_kind("scalar", "a string")
        if node is None:
            return default
        if not node.text and not empty:
            self.fail("empty", "give it a value, or remove the key")
            return default
        return node.text

    def integer(self, default: _D, *, minimum: int, maximum: int, unit: str = "") -> int | _D:
        node = self._of_kind("scalar", "a whole number")
        if node is None:
            return default
        whole = node.plain and _INTEGER.fullmatch(node.text)
        if whole and minimum <= int(node.text) <= maximum:
            return int(node.text)
        quoted = " in quotes" if _INTEGER.fullmatch(node.text) and not node.plain else ""
        of = f" of {unit}" if unit else ""
        self.fail(
            f"{shown(node.text)}{quoted} is not a whole number{of} from {minimum} to {maximum}"
        )
        return default

    def number(self, default: _D, *, maximum: float) -> float | _D:
        """A number above 0."""
        node = self._of_kind("scalar", "a number")
        if node is None:
            return default
        if node.plain and _NUMBER.fullmatch(node.text) and 0 < float(node.text) <= maximum:
            return float(node.text)
        self.fail(f"{shown(node.text)} is not a number above 0, up to {maximum:g}")
        return default

    def boolean(self, default: _D) -> bool | _D:
        node = self._of_kind("scalar", "true or false")
        if node is None:
            return default
        if node.plain and node.text in BOOLEANS:
            return BOOLEANS[node.text]
        self.fail(f"{shown(node.text)} is neither true nor false")
        return default

    def choice(self, options: Sequence[_C]) -> _C | None:
        """One of a few words; None for another."""
        text = self.text(None)
        if text is None:
            return None
        for option in options:
            if option == text:
                return option
        near = nearest(text, options)
        self.fail(
            f"{shown(text)} is not one of {', '.join(options)}",
            f"did you mean {near!r}?" if near else "",
        )
        return None

    def matching(self, default: _D, pattern: re.Pattern[str], rule: str) -> str | _D:
        """A string that ``pattern`` matches as a whole; ``rule`` says the same in words."""
        text = self.text(None)
        if text is None:
            return default
        if pattern.fullmatch(text):
            return text
        self.fail(f"{shown(text)} is not {rule}")
        return default

    def items(self) -> tuple[Cursor, ...]:
        """A list's items, each of which must have a value."""
        node = self._of_kind("sequence", "a list")
        items = tuple(
            Cursor(problems=self.problems, path=f"{self.path}[{i}]", node=item, anchor=item)
            for i, item in enumerate(node.items if node else ())
        )
        return tuple(item for item in items if item.require())

    def entries(self) -> dict[str, Cursor]:
        """A mapping's values by key, ``<<`` merged in: of two alike the mapping's own wins."""
        node = self._of_kind("mapping", "a mapping of keys to values")
        found: dict[str, Cursor] = {}
        for key, value in self._merged(node) if node else ():
            path = f"{self.path}.{key.text}" if self.path else key.text
            cursor = Cursor(problems=self.problems, path=path, node=value, anchor=key)
            found.setdefault(key.text, cursor)
        return found

    def fields(self, known: Sequence[str]) -> Fields:
        """A mapping with known keys; another key is a problem."""
        entries = self.entries()
        fields = Fields(entries=entries, owner=self)
        for name in entries.keys() - set(known):
            near = nearest(name, known)
            hint = f"did you mean {near!r}?" if near else f"known here: {', '.join(known)}"
            fields.unknown(name, hint)
        return fields

    def _merged(self, node: Node) -> Iterable[tuple[Node, Node]]:
        scalars = [(key, value) for key, value in node.entries if key.kind == "scalar"]
        yield from ((key, value) for key, value in scalars if not key.is_merge)
        for value in (value for key, value in scalars if key.is_merge):
            for other in value.items if value.kind == "sequence" else (value,):
                if other.kind == "mapping":
                    yield from self._merged(other)
                else:
                    where = self.problems.where(other)
                    self.problems.add(where, "<<: only mappings can be merged")

    def _of_kind(self, kind: str, words: str) -> Node | None:
        if self.node is None or self.node.is_null:
            return None
        if self.node.kind == kind:
            return self.node
        scalar = self.node.kind == "scalar"
        found = shown(self.node.text) if scalar else f"a {self.node.kind}"
        self.fail(f"{found} stands where {words} must")
        return None


@dataclass(frozen=True, kw_only=True)
class Fields:
    """The values of a mapping with known keys; a key that is not given has a cursor too."""

    entries: dict[str, Cursor]
    owner: Cursor

    def __getitem__(self, name: str) -> Cursor:
        if name in self.entries:
            return self.entries[name]
        owner = self.owner
        path = f"{owner.path}.{name}" if owner.path else name
        return Cursor(problems=owner.problems, path=path, node=None, anchor=owner.anchor)

    def at(self, field: Readable[object]) -> Cursor:
        return self[field.name]

    def read(self, field: Readable[_V]) -> _V:
        return field.read(self[field.name])

    def unknown(self, name: str, hint: str) -> None:
        inside = f" in {self.owner.path}" if self.owner.path else ""
        where = self.entries[name].key_where
        self.owner.problems.add(where, f"unknown key {shown(name)}{inside}", hint)

    def where(self) -> dict[str, str]:
        """``file:line:column`` of each key that is given."""
        return {name: cursor.key_where for name, cursor in self.entries.items() if cursor.given}


class Readable(Protocol[_V_co]):
    """A key and how its value is read."""

    @property
    def name(self) -> str: ...

    def read(self, cursor: Cursor) -> _V_co: ...
