"""From what was seen of a submission's run to one verdict on it; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "LONGEST_WHY",
    "WORDS",
    "CellRun",
    "Ended",
    "Run",
    "TestRun",
    "Verdict",
    "earned",
    "named_error",
    "verdict_of",
]

LONGEST_WHY = 2000

Kind = Literal[
    "passed",
    "failed",
    "out of memory",
    "timed out",
    "died",
    "refused network",
    "wrote outside",
    "too much output",
    "unreadable",
    "not graded",
]

WORDS: dict[Kind, str] = {
    "passed": "every test passed; without tests, every cell ran",
    "failed": "a test did not pass; without tests, a cell raised",
    "out of memory": "it needed more memory than the sandbox may have",
    "timed out": "a cell, or the whole, took longer than it was given",
    "died": "its kernel ended",
    "refused network": "it asked for a host that the network's rules do not allow",
    "wrote outside": "it tried to write where it may not",
    "too much output": "it printed more than is kept",
    "unreadable": "what was handed in is no notebook that can be run",
    "not graded": "its sandbox did not start, which is no fault of the submission's",
}

NETWORK_ERRORS = frozenset(
    {"gaierror", "URLError", "ConnectionError", "ConnectionRefusedError", "ConnectError"}
    | {"ConnectTimeout", "NameResolutionError"}
    | {"NewConnectionError", "MaxRetryError", "ProxyError", "RemoteDisconnected"}
)
WRITE_ERRORS = ("[Errno 30]", "[Errno 13]", "[Errno 1]")
"""EROFS, EACCES and EPERM, as Python's own errors begin."""
WRITERS = frozenset({"OSError", "PermissionError"})

Outcome = Literal["ran", "raised", "timed out", "ended", "stopped", "not run"]
"""``ended``: its kernel did. ``stopped``: it was, for too much output."""


@dataclass(frozen=True, kw_only=True)
class CellRun:
    number: int
    outcome: Outcome
    error: str = ""
    """``NAME: text``, or ``NAME`` alone, where it raised."""

    @property
    def error_name(self) -> str:
        return self.error.partition(":")[0].rpartition(".")[2]


@dataclass(frozen=True, kw_only=True)
class TestRun:
    name: str
    passed: bool
    points: float
    """What it gives: all, none, or the part that a cell ended in, which is no pass."""
    of: float
    why: str = ""
    hidden: bool = False

    __test__ = False  # pytest takes it for a class of tests


def named_error(name: str, text: str) -> str:
    """As :attr:`CellRun.error` has it: many an AssertionError says nothing."""
    return f"{name}: {text}" if text else name


def earned(of: float, result: Mapping[str, Any]) -> tuple[float, str]:
    """How many points ``of`` so many a test gives, and why not all.

    ``result`` is what a test came to. A number that it ended in is its points, as in nbgrader;
    unlike there, one beyond ``of`` gives none, as a submission may have had a part in it.
    """
    if result.get("passed") is not True:
        return 0.0, str(result.get("why"))[:LONGEST_WHY] or "failed"
    value = result.get("value")
    if not isinstance(value, float) or value == of:
        return of, ""
    if 0 <= value < of:
        return value, f"{value:g} of its {of:g} points"
    return 0.0, f"it ended in {value:g}, which is no number of points from 0 to {of:g}"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a kernel, or its sandbox, ended before it was asked to."""

    words: str
    out_of_memory: bool = False


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was seen."""

    cells: tuple[CellRun, ...] = ()
    tests: tuple[TestRun, ...] = ()
    ended: Ended | None = None
    too_long: str = ""
    """Which time was over, in words."""
    too_much: bool = False
    refused: tuple[str, ...] = ()
    """What the network's rules refused, each in words."""
    outside: tuple[str, ...] = ()
    """What it wrote, or made, where it may not."""
    unreadable: str = ""
    not_started: str = ""
    written: tuple[str, ...] = ()
    """What it left in its workspace, by path."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    kind: Kind
    detail: str = ""


def verdict_of(run: Run) -> Verdict:
    """The gravest of what was seen, with the details that a teacher needs to answer a student."""
    return next(_verdicts(run))


def _verdicts(run: Run) -> Iterator[Verdict]:
    if run.not_started:
        yield Verdict(kind="not graded", detail=run.not_started)
    if run.unreadable:
        yield Verdict(kind="unreadable", detail=run.unreadable)
    if run.ended is not None and run.ended.out_of_memory:
        yield Verdict(kind="out of memory", detail=_where(run, run.ended.words))
    if memory := _raised(run, {"MemoryError"}):
        yield Verdict(kind="out of memory", detail=memory)
    if run.too_long:
        yield Verdict(kind="timed out", detail=run.too_long)
    if run.too_much:
        yield Verdict(kind="too much output", detail=_where(run, "more than is kept"))
    if run.ended is not None:
        yield Verdict(kind="died", detail=_where(run, run.ended.words))
    if run.outside:
        yield Verdict(kind="wrote outside", detail="; ".join(run.outside))
    if outside := _raised(run, WRITERS, WRITE_ERRORS):
        yield Verdict(kind="wrote outside", detail=outside)
    if run.refused:
        yield Verdict(kind="refused network", detail="; ".join(run.refused))
    if network := _raised(run, NETWORK_ERRORS):
        yield Verdict(kind="refused network", detail=network)
    yield _by_tests(run)


def _by_tests(run: Run) -> Verdict:
    failed = [test.name for test in run.tests if not test.passed]
    raised = [cell for cell in run.cells if cell.outcome != "ran"]
    words = []
    if failed:
        words.append(f"{len(failed)} of {len(run.tests)} tests: {_list(failed)}")
    if raised:
        words += [f"cell {cell.number}: {cell.error or cell.outcome}" for cell in raised[:3]]
    bad = bool(failed) if run.tests else bool(raised)
    return Verdict(kind="failed" if bad else "passed", detail="; ".join(words))


def _raised(
    run: Run, names: frozenset[str] | set[str], starts: tuple[str, ...] = ("",)
) -> str | None:
    """The first cell that raised one of these errors, in words."""
    for cell in run.cells:
        text = cell.error.partition(":")[2].strip()
        if cell.error_name in names and text.startswith(starts):
            return f"cell {cell.number}: {cell.error}"
    return None


def _where(run: Run, words: str) -> str:
    last = next((cell for cell in run.cells if cell.outcome in ("ended", "stopped")), None)
    return f"{'a test' if last is None else f'cell {last.number}'}: {words}"


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown}, ..." if len(names) > 5 else shown
