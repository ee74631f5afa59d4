"""The tests of an assignment, as its teacher has written them.

They are read from the teacher's own file and never from a submission.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from moat_nb.errors import MoatError
from moat_nb.grading.notebook_cells import (
    DEFINITIONS,
    SIMPLE,
    bound,
    changed,
    classes,
    points_of,
    read_cells,
)

__all__ = ["NO_TESTS", "Assignment", "Case", "of_nbgrader", "read"]

HIDDEN = "### BEGIN HIDDEN TESTS"


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    source: str
    form: Literal["code", "cell", "doctest"]
    """A ``cell`` may end in a number: the points that it gives."""
    points: float
    hidden: bool = False
    needs: int | None = None
    """How many of what tests stand on come before it; None for all."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    cases: tuple[Case, ...]
    prepared: tuple[str, ...] = ()
    """What tests stand on, in its order: imports and functions of the teacher's own."""
    asked: tuple[str, ...] = ()
    """Names of Python's own that the submission is to define: exercises such as "write a max()"."""
    bound: tuple[str, ...] = ()
    """Names that the tests themselves bind, for which no submission is asked."""
    solved: tuple[str, ...] = ()
    """Names that the teacher's solution, or an open cell, binds: they are looked at in the
    submission. A test may put another function there, or take it away."""
    classes: tuple[str, ...] | None = None
    """Which of its names are classes; None where there is no solution to look at."""
    notebook: str | None = None
    """The name of the notebook that is handed in, where the tests stand in one."""
    by_hand: tuple[tuple[str, float], ...] = ()
    """Answers that a person has to read, and their points."""
    digest: str = ""

    @property
    def points(self) -> float:
        return sum(case.points for case in self.cases)


NO_TESTS = Assignment(cases=())


def read(path: Path) -> Assignment:
    """Of a notebook with nbgrader's test cells, of a ``.py`` file with functions ``test_...``, or
    of otter-grader's test files, one or a directory. Raises MoatError."""
    try:
        files = sorted(path.glob("*.py")) if path.is_dir() else [path]
        texts = {file: file.read_text(encoding="utf-8-sig") for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise MoatError(f"{path}: {error}") from error
    made: list[Assignment] = []
    for file, text in texts.items():
        made.append(_notebook(file, text) if file.suffix == ".ipynb" else _python(file, text))
    cases = tuple(case for assignment in made for case in assignment.cases)
    if not cases:
        raise MoatError(
            f"{path}: no test is there: neither a cell that nbgrader calls a test, nor a function "
            "test_..., nor otter-grader's `test = {...}`"
        )
    names = [case.name for case in cases]
    if twice := {name for name in names if names.count(name) > 1}:
        raise MoatError(f"{path}: two tests are called {sorted(twice)[0]}")
    return Assignment(
        cases=cases,
        prepared=tuple(source for assignment in made for source in assignment.prepared),
        asked=tuple(name for assignment in made for name in assignment.asked),
        bound=tuple(name for assignment in made for name in assignment.bound),
        solved=tuple(name for assignment in made for name in assignment.solved),
        classes=made[0].classes,
        notebook=path.name if path.suffix == ".ipynb" else None,
        by_hand=tuple(answer for assignment in made for answer in assignment.by_hand),
        digest=hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest(),
    )


# ---------------------------------------------------------------- nbgrader's


def of_nbgrader(
    source: Path, tests: list[dict[str, Any]], release: Path | None = None
) -> Assignment:
    """The tests that nbgrader's gradebook has, as cells of a notebook, in the order of ``source``,
    the teacher's own, and with what they stand on there. ``release`` has more imports, of the cells
    that a course has put around it. Raises MoatError."""
    made = _notebook(source, _text(source))
    around: list[str] = []
    if release is not None and release.exists():
        others = _notebook(release, _text(release)).prepared
        imports = [one for one in others if one.startswith(("import ", "from "))]
        around = [one for one in imports if one not in made.prepared]
    needs = {case.name: len(around) + (case.needs or 0) for case in made.cases}
    order = list(needs)
    cases = sorted(
        _notebook(source, json.dumps({"cells": tests})).cases,
        key=lambda case: order.index(case.name) if case.name in needs else len(order),
    )
    return dataclasses.replace(
        made,
        cases=tuple(dataclasses.replace(case, needs=needs.get(case.name)) for case in cases),
        prepared=(*around, *made.prepared),
        notebook=source.name,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MoatError(f"{path}: {error}; the imports of the tests are read there") from error


def _notebook(path: Path, text: str) -> Assignment:
    cells = list(read_cells(path, text))
    solutions = [cell for cell in cells if cell.kind == "solution"]
    imported = {name for cell in cells for name in bound(cell.imports) if cell.kind != "test"}
    theirs = {name for cell in solutions for name in cell.binds}
    # np.random.seed(1) changes no value of a notebook's.
    theirs |= {name for cell in solutions for name in changed(cell.body)} - imported
    # What an open cell binds, a submission has too, unless it was changed.
    given = {name for cell in cells if cell.kind == "open" for name in cell.binds}
    own = {name for c in cells if c.kind in ("test", "locked") for name in bound(c.body)}
    prepared: list[str] = []
    cases: list[Case] = []
    for cell in cells:
        for node in cell.stood_on:
            # What a solution binds anew is the submission's.
            if not (isinstance(node, SIMPLE) and theirs & set(bound([node]))):
                prepared.append(ast.unparse(node))
        if cell.kind == "test":
            cases.append(
                Case(
                    name=cell.name,
                    source=cell.source,
                    form="cell",
                    points=cell.points,
                    hidden=HIDDEN in cell.source,
                    needs=len(prepared),
                )
            )
    return Assignment(
        cases=tuple(cases),
        prepared=tuple(prepared),
        by_hand=tuple((cell.name, cell.points) for cell in cells if cell.by_hand),
        asked=tuple(sorted(name for name in theirs if hasattr(builtins, name))),
        bound=tuple(sorted(own - theirs - given)),
        solved=tuple(sorted(theirs | given)),
        classes=tuple(name for cell in solutions for name in classes(cell.body)),
    )


# ---------------------------------------------------------------- Python files


def _python(path: Path, text: str) -> Assignment:
    try:
        body = ast.parse(text, str(path)).body
    except SyntaxError as error:
        raise MoatError(f"{path}:{error.lineno}: {error.msg}") from error
    except ValueError as error:  # null bytes, before Python 3.12
        raise MoatError(f"{path}: {error}") from error
    constants = dict(_constants(body))
    if isinstance(constants.get("test"), dict):
        return Assignment(cases=tuple(_otter(path, constants["test"])))
    points = constants.get("POINTS", {})
    if not isinstance(points, dict):
        raise MoatError(f"{path}: POINTS is no dict of names and numbers, each written out")
    asked = constants.get("FROM_SUBMISSION", [])
    if not isinstance(asked, (list, tuple)) or not all(isinstance(one, str) for one in asked):
        raise MoatError(f"{path}: FROM_SUBMISSION is no list of names, each written out")
    cases = []
    for node in body:
        if not (isinstance(node, DEFINITIONS) and _is_test(node)):
            continue
        if not isinstance(node, ast.FunctionDef) or not _is_plain(node):
            raise MoatError(
                f"{path}:{node.lineno}: {node.name} is a class, async, or has arguments or a "
                "decorator, which only pytest knows; a test here is a function without them"
            )
        given = points_of(points.get(node.name, 1), f"{path}: POINTS[{node.name!r}]")
        source = ast.get_source_segment(text, node) or ""
        call = f"{source}\n{node.name}()\n"
        cases.append(Case(name=node.name, source=call, form="code", points=given))
    if unknown := sorted(map(str, set(points) - {case.name for case in cases})):
        raise MoatError(f"{path}: POINTS names {unknown[0]}, which is no test of this file")
    return Assignment(
        cases=tuple(cases), prepared=(text,), asked=tuple(asked), bound=tuple(sorted(bound(body)))
    )


def _is_test(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Whether pytest would take it for one, or for a class of some."""
    if not isinstance(node, ast.ClassDef):
        return node.name.startswith("test_")
    return any(isinstance(one, ast.FunctionDef) and _is_test(one) for one in node.body)


def _is_plain(node: ast.FunctionDef) -> bool:
    given = (node.args.args, node.args.posonlyargs, node.args.kwonlyargs, node.decorator_list)
    return not any(given)


def _constants(body: list[ast.stmt]) -> Iterator[tuple[str, Any]]:
    """The names that are set, each with its value; None where that is not written out."""
    for node in body:
        if isinstance(node, ast.Assign):
            target = node.targets[0]
        elif isinstance(node, ast.AnnAssign):
            target = node.target
        else:
            continue
        if isinstance(target, ast.Name):
            value = None
            with contextlib.suppress(ValueError, TypeError):
                value = ast.literal_eval(node.value or target)
            yield target.id, value


def _otter(path: Path, test: Any) -> Iterator[Case]:
    """The cases of ``test = {"name": ..., "points": ..., "suites": [{"cases": [...]}]}``."""
    try:
        name = str(test["name"])
        cases = [case for suite in test["suites"] for case in suite["cases"]]
        worth = test.get("points")
        shares = worth if isinstance(worth, list) else [None] * len(cases)
        own = [case.get("points") for case in cases]
        given = sum(float(one) for one in own if one is not None)
        open_ones = own.count(None) or 1
        total = float(worth) if isinstance(worth, (int, float)) else given or 1.0
        for at, (case, share) in enumerate(zip(cases, shares, strict=True)):
            points = share if share is not None else case.get("points")
            points = (total - given) / open_ones if points is None else points
            if not isinstance(case["code"], str):
                raise TypeError("its code is no text")
            yield Case(
                name=f"{name} - {at + 1}",
                source=case["code"],
                form="doctest",
                points=points_of(points, f"{path}: case {at + 1}"),
                hidden=case.get("hidden", False) is True,
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MoatError(f"{path}: this is no test of otter-grader's: {error!r}") from error
