"""The cells of a teacher's notebook, what their code binds, and what of it tests stand on."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from moat_nb.errors import MoatError
from moat_nb.text.untrusted import as_dict

__all__ = [
    "DEFINITIONS",
    "SIMPLE",
    "Cell",
    "bound",
    "changed",
    "classes",
    "points_of",
    "read_cells",
]

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
SIMPLE = (*IMPORTS, *DEFINITIONS, ast.Assign, ast.AnnAssign, ast.AugAssign)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of the teacher's notebook, as far as tests are concerned."""

    kind: Literal["test", "solution", "locked", "open", "text"]
    name: str
    source: str
    points: float
    by_hand: bool
    body: tuple[ast.stmt, ...]
    """Of code: its statements, without magics."""

    @property
    def imports(self) -> list[ast.stmt]:
        return [node for node in self.body if isinstance(node, IMPORTS)]

    @property
    def binds(self) -> set[str]:
        """The names that it binds, but for its imports."""
        return set(bound([node for node in self.body if not isinstance(node, IMPORTS)]))

    @property
    def stood_on(self) -> list[ast.stmt]:
        """What of it runs where the tests run."""
        if self.kind == "locked":
            return list(map(_quiet, self.body))
        return [] if self.kind == "test" else self.imports


def read_cells(path: Path, text: str) -> Iterator[Cell]:
    try:
        cells = as_dict(json.loads(text)).get("cells")
    except (ValueError, RecursionError) as error:
        raise MoatError(f"{path}: this is no notebook: {error}") from error
    if not isinstance(cells, list):
        raise MoatError(f"{path}: this is no notebook: it has no cells")
    for number, cell in enumerate(map(as_dict, cells), 1):
        place = f"{path}: cell {number}"
        source = cell.get("source", "")
        source = source if isinstance(source, str) else "".join(map(str, source))
        about = as_dict(as_dict(cell.get("metadata")).get("nbgrader"))
        kind = _kind(about) if cell.get("cell_type") == "code" else "text"
        if kind == "test":
            _refuse_what_is_no_python(source, place)
        graded, solved = about.get("grade") is True, about.get("solution") is True
        yield Cell(
            kind=kind,
            name=str(about.get("grade_id")),
            source=source,
            points=points_of(about.get("points") or 0, place),
            by_hand=(graded and solved) or about.get("task") is True,
            body=() if kind == "text" else tuple(_statements(source)),
        )


def _kind(about: dict[str, Any]) -> Literal["test", "solution", "locked", "open"]:
    """Of a code cell, by what nbgrader has noted there."""
    if about.get("solution") is True:
        return "solution"
    if about.get("grade") is True:
        return "test"
    return "locked" if about.get("locked") is True else "open"


def _statements(source: str) -> list[ast.stmt]:
    """Of a cell, without its magics; none where it is no Python."""
    plain = "\n".join("" if line.startswith(("%", "!")) else line for line in source.splitlines())
    try:
        return ast.parse(plain).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _refuse_what_is_no_python(source: str, place: str) -> None:
    """Nobody would pass such a test. What IPython alone understands is not looked into."""
    if any(line.lstrip().startswith(("%", "!", "?")) for line in source.splitlines()):
        return
    try:
        ast.parse(source)
    except (SyntaxError, ValueError) as error:
        if not any(mark in source for mark in ("!", "?", "%")):
            raise MoatError(f"{place}: this test is no Python: {error}") from error


def _quiet(node: ast.stmt) -> ast.stmt:
    """A call that only shows something may fail where the tests run: nothing stands on it."""
    if not isinstance(node, ast.Expr):
        return node
    handler = ast.ExceptHandler(type=ast.Name(id="Exception"), name=None, body=[ast.Pass()])
    return ast.Try(body=[node], handlers=[handler], orelse=[], finalbody=[])


def changed(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The names whose values statements change in place, outside of functions."""
    for node in body:
        if isinstance(node, DEFINITIONS):
            continue
        for one in ast.walk(node):
            changed: list[ast.expr] = []
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call):
                changed = [one.value.func]  # data.sort()
            elif isinstance(one, (ast.Assign, ast.Delete)):
                changed = one.targets
            elif isinstance(one, ast.AugAssign):
                changed = [one.target]
            for target in changed:
                if isinstance(target, (ast.Attribute, ast.Subscript)):
                    yield from (n.id for n in (target.value,) if isinstance(n, ast.Name))


MAKERS = frozenset({"namedtuple", "NamedTuple", "Enum", "IntEnum", "make_dataclass", "type"})


def classes(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that statements bind to a class, as far as can be seen."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, IMPORTS):
            yield from bound([node])
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            maker = node.value.func
            name = maker.attr if isinstance(maker, ast.Attribute) else getattr(maker, "id", "")
            if name in MAKERS:
                yield from bound([node])


def bound(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that statements bind in their own scope."""
    waiting: list[ast.AST] = [*body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, DEFINITIONS):
            yield node.name
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (one.asname or one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp)):
            continue
        waiting += ast.iter_child_nodes(node)


def points_of(value: Any, place: str) -> float:
    """A number of points. Raises MoatError."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and 0 <= value < math.inf):
        raise MoatError(f"{place} is no number of points: {value!r}")
    return float(value)
