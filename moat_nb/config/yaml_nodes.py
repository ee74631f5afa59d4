"""YAML text as a tree of nodes that know their line and column, bounded in every way.

No object is ever constructed from the text: a node is a scalar, a sequence or a mapping. The tree
is built from the parser's events with a stack of its own, so neither depth nor anchors can
overflow anything: an alias is a reference to its node, and what it would expand to is counted,
not made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import yaml

from moat_nb.errors import ConfigError, Problem

__all__ = ["MAX_BYTES", "Node", "Problems", "compose", "nearest", "shown"]

MAX_BYTES = 1 << 20
"""The largest file that is read; a hand-written moat.yaml is some kilobytes."""

MAX_NODES = 10_000
"""Scalars, sequences and mappings in a file, aliases counted each time they are expanded."""

MAX_DEPTH = 64
"""Levels of nesting; moat.yaml itself needs five."""

_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
_LIBYAML_TOO_DEEP = "exceeded maximum nesting depth"
"""Its scanner looks ahead of its events, and since 0.2.6 has a limit of its own, a higher one."""

_MERGE = "<<"
# An explicit tag that says no more than the text's own shape does.
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map")}
_POSITION = re.compile(r":(\d+):(\d+)$")
# The C loader where libyaml is there: ten times as fast, the same events.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class Node:
    """A scalar with its ``text`` as written, a sequence of ``items``, or a mapping's ``entries``.

    ``line`` and ``column`` are 1-based; ``plain`` is False for a scalar in quotes, in a block or
    with the tag ``!!str``; ``size`` counts the node and all below it, aliases expanded.
    ``start`` and ``end`` are offsets in the text, in characters after a byte order mark: what
    stands between them is the node with its anchor, or, where ``alias``, the ``*name``. A block
    sequence or mapping ends with its last child. ``flow``: it is written in brackets or braces.
    """

    line: int
    column: int
    kind: Literal["scalar", "sequence", "mapping"] = "scalar"
    text: str = ""
    plain: bool = False
    items: tuple[Node, ...] = ()
    entries: tuple[tuple[Node, Node], ...] = ()
    size: int = 1
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)
    alias: bool = field(default=False, compare=False)
    flow: bool = field(default=False, compare=False)

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in {"", "~", "null", "Null", "NULL"}

    @property
    def is_merge(self) -> bool:
        """Whether this key is ``<<``, which takes over the entries of other mappings."""
        return self.plain and self.text == _MERGE


@dataclass
class Problems:
    """Collects what is wrong with one file. ``label`` is the file's name as its user knows it."""

    label: str
    found: list[Problem] = field(default_factory=list)

    def where(self, node: Node | None) -> str:
        return f"{self.label}:{node.line}:{node.column}" if node else self.label

    def add(self, where: str, what: str, hint: str = "") -> None:
        self.found.append(Problem(where=where, what=what, hint=hint))

    def stop(self, where: str, what: str, hint: str = "") -> ConfigError:
        """The error to raise when nothing further of the file can be understood."""
        self.add(where, what, hint)
        return self.error()

    def error(self) -> ConfigError:
        """All that was found, in the file's order."""
        return ConfigError(sorted(dict.fromkeys(self.found), key=_position))


def shown(value: str) -> str:
    """``value`` in quotes for an error text, cut at 60 characters."""
    return repr(value if len(value) <= 60 else value[:57] + "...")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` was probably meant to be.

    0.75 lets one slip through in a word of four letters (``nodd``), and takes no word of other
    letters for a slip.
    """
    # Only a file with a mistake in it pays for the import.
    import difflib

    found = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.75)
    return found[0] if found else None


def compose(data: bytes, problems: Problems) -> Node:
    """The tree of one YAML document; of an empty one, an empty mapping.

    Duplicate keys, keys that are no scalars, tags and NUL characters are added to ``problems``.
    Raises ConfigError for what leaves no tree to go on with: too large, not UTF-8, not YAML, a
    second document, an alias to nothing or to a node around itself, too many nodes, too deep.
    """
    text = _decode(data, problems)
    builder = _Builder(problems)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, problems) from None
    root = builder.root
    if root is None or root.is_null:
        return Node(line=1, column=1, kind="mapping")
    return root


def _decode(data: bytes, problems: Problems) -> str:
    if len(data) > MAX_BYTES:
        raise problems.stop(
            problems.label,
            f"the file is larger than {MAX_BYTES} bytes",
            "moat.yaml is settings; keep data elsewhere",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Decoded by utf-8-sig, error.object lacks the byte order mark, as the user's editor does.
        where = _offset(error.object[: error.start].decode(), problems)
        byte = error.object[error.start]
        raise problems.stop(
            where, f"the byte 0x{byte:02x} is not UTF-8", "save the file as UTF-8"
        ) from None
    if "\0" in text:
        where = _offset(text[: text.index("\0")], problems)
        raise problems.stop(where, "a NUL byte; this is no text file", "save the file as UTF-8")
    return text


def _offset(before: str, problems: Problems) -> str:
    lines = before.split("\n")
    return f"{problems.label}:{len(lines)}:{len(lines[-1]) + 1}"


def _syntax_error(error: yaml.YAMLError, text: str, problems: Problems) -> ConfigError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        # A character that YAML forbids: the reader knows no line, only what is wrong.
        reason = getattr(error, "reason", None) or str(error)
        return problems.stop(problems.label, f"not YAML: {reason}")
    where = f"{problems.label}:{mark.line + 1}:{mark.column + 1}"
    if getattr(error, "problem", None) == _LIBYAML_TOO_DEEP:
        return problems.stop(where, _TOO_DEEP)
    line = (text.split("\n")[mark.line : mark.line + 1] or [""])[0]
    indentation = line[: len(line) - len(line.lstrip())]
    if "\t" in indentation:
        return problems.stop(
            f"{problems.label}:{mark.line + 1}:{indentation.index(chr(9)) + 1}",
            "a tab in the indentation; YAML allows only spaces there",
            "replace the tab with spaces",
        )
    words = [getattr(error, name, None) for name in ("context", "problem")]
    return problems.stop(where, f"not YAML: {', '.join(word for word in words if word)}")


_Open: TypeAlias = "tuple[Any, str | None, list[Node]]"


class _Builder:
    """Takes the parser's events in order; ``root`` is the tree when they have ended."""

    def __init__(self, problems: Problems) -> None:
        self.root: Node | None = None
        self._problems = problems
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._count = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        where = self._where(event)
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._problems.stop(where, "a second YAML document", "keep one to a file")
        elif isinstance(event, yaml.AliasEvent):
            node = self._aliased(str(event.anchor), where)
            place = _place(event)
            alias = replace(node, start=place["start"], end=place["end"], alias=True)
            self._attach(alias, where)
        elif isinstance(event, yaml.ScalarEvent):
            self._check_tag(event, where)
            if "\0" in event.value:
                # Only an escape can bring one; neither a path nor a variable can hold it.
                self._problems.add(where, "a NUL character in a string", "remove it")
            node = Node(
                **_place(event),
                text=event.value,
                plain=event.style in {None, ""} and event.tag is None,
            )
            self._name(event.anchor, node)
            self._attach(node, where)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            self._open(event, where)
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            self._close(event)

    def _where(self, event: yaml.Event) -> str:
        place = _place(event)
        return f"{self._problems.label}:{place['line']}:{place['column']}"

    def _check_tag(self, event: Any, where: str) -> None:
        if event.tag is not None and event.tag not in _PLAIN_TAGS:
            self._problems.add(
                where, f"the tag {shown(event.tag)}; tags are not allowed", "remove the tag"
            )

    def _name(self, anchor: str | None, node: Node | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _aliased(self, anchor: str, where: str) -> Node:
        if anchor not in self._anchors:
            raise self._problems.stop(where, f"the alias *{anchor} names no anchor before it")
        node = self._anchors[anchor]
        if node is None:
            raise self._problems.stop(where, f"the alias *{anchor} stands inside its own anchor")
        return node

    def _open(self, event: Any, where: str) -> None:
        self._check_tag(event, where)
        if len(self._stack) == MAX_DEPTH:
            raise self._problems.stop(where, _TOO_DEEP)
        # None until it is closed: an alias that meets it stands inside its own anchor.
        self._name(event.anchor, None)
        self._stack.append((event, event.anchor, []))

    def _close(self, last: Any) -> None:
        event, anchor, children = self._stack.pop()
        # The mark of a block's end stands where the next token begins, comments later.
        end = last.end_mark.index if event.flow_style or not children else children[-1].end
        common: dict[str, Any] = {
            **_place(event),
            "size": 1 + sum(child.size for child in children),
            "end": end,
            "flow": bool(event.flow_style),
        }
        if isinstance(event, yaml.SequenceStartEvent):
            node = Node(**common, kind="sequence", items=tuple(children))
        else:
            entries = tuple(zip(children[::2], children[1::2], strict=True))
            node = Node(**common, kind="mapping", entries=entries)
            self._check_keys(entries)
        self._name(anchor, node)
        # Its children were counted as they came.
        self._attach(node, self._where(event), count=1)

    def _check_keys(self, entries: Iterable[tuple[Node, Node]]) -> None:
        first: dict[str, Node] = {}
        for key, _ in entries:
            where = self._problems.where(key)
            if key.kind != "scalar":
                self._problems.add(where, "a key that is not a string")
            elif key.text in first:
                before = first[key.text]
                self._problems.add(
                    where,
                    f"duplicate key {shown(key.text)}, first given at line {before.line}",
                    "keep one of the two",
                )
            else:
                first[key.text] = key

    def _attach(self, node: Node, where: str, count: int | None = None) -> None:
        self._count += node.size if count is None else count
        if self._count > MAX_NODES:
            raise self._problems.stop(
                where, f"more than {MAX_NODES} values, aliases (*name) counted as often as used"
            )
        if self._stack:
            self._stack[-1][2].append(node)
        else:
            self.root = node


def _place(event: Any) -> dict[str, Any]:
    return {
        "line": event.start_mark.line + 1,
        "column": event.start_mark.column + 1,
        "start": event.start_mark.index,
        "end": event.end_mark.index,
    }


def _position(problem: Problem) -> tuple[int, int]:
    found = _POSITION.search(problem.where)
    return (int(found[1]), int(found[2])) if found else (0, 0)
