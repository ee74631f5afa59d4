"""One submission: its cells in a sandbox of its own, then the tests over what they left."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moat_nb.errors import CellInterrupted, MoatError, MoatRemoteError, SandboxGone
from moat_nb.grading.assignment import Assignment, Case
from moat_nb.grading.exchange import Exchange, Unprepared
from moat_nb.grading.outputs import Outputs
from moat_nb.grading.submissions import (
    Cell,
    Submission,
    Unreadable,
    cells_of,
    copy_beside,
    copy_for,
)
from moat_nb.grading.tests_process import TestsProcess
from moat_nb.grading.verdict import (
    LONGEST_WHY,
    CellRun,
    Ended,
    Run,
    TestRun,
    earned,
    named_error,
)
from moat_nb.jupyter.cells import Options, connect, run_cell
from moat_nb.jupyter.kernel_manager import Kernel, own_event_loop
from moat_nb.sandbox.project import LaunchPlan
from moat_nb.sandbox.sandbox import Sandbox
from moat_nb.text.progress import Silent
from moat_nb.text.terminal import one_line

__all__ = ["Limits", "Live", "Material", "run_cells", "run_submission"]

OURS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS})
"""Errors that no submission has a part in."""
MAX_LISTED = 200
"""Files that a submission left, of which a result has the names."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """In seconds."""

    cell: float = 60.0
    test: float = 30.0
    """Of each test, and of each call of the submission's in it."""
    whole: float = 600.0


class Live:
    """The sandboxes that run, which can all be ended from another thread."""

    def __init__(self) -> None:
        self._sandboxes: set[Sandbox] = set()
        self._lock = threading.Lock()
        self.cancelled = False

    @contextlib.contextmanager
    def kept(self, sandbox: Sandbox) -> Iterator[None]:
        """Have this one be ended too. Raises SandboxGone where all were ended before."""
        with self._lock:
            if self.cancelled:
                raise SandboxGone("grading was interrupted")
            self._sandboxes.add(sandbox)
        try:
            yield
        finally:
            with self._lock:
                self._sandboxes.discard(sandbox)

    def stop(self) -> None:
        """End them all; no other can begin."""
        with self._lock:
            self.cancelled = True
            running = tuple(self._sandboxes)
        for sandbox in running:
            sandbox.stop()


@dataclass(frozen=True, kw_only=True)
class Material:
    """What all submissions have in common."""

    plan: LaunchPlan
    """What each sandbox is started by, but for its workspace."""
    assignment: Assignment
    beside: tuple[Path, ...] = ()
    """The teacher's own files and directories that lie in each workspace."""
    limits: Limits = field(default_factory=Limits)
    live: Live = field(default_factory=Live)


def run_submission(
    submission: Submission, material: Material, scratch: Path
) -> tuple[Run, tuple[Cell, ...], Outputs]:
    """What was seen, its cells, and what they showed. ``scratch`` is an empty directory.

    Nothing of the run is left but what it wrote below ``scratch``.
    """
    try:
        cells = cells_of(submission)
    except Unreadable as error:
        return Run(unreadable=str(error)), (), Outputs()
    run, outputs = run_cells(cells, submission, material, scratch)
    return run, cells, outputs


def run_cells(
    cells: tuple[Cell, ...], submission: Submission, material: Material, scratch: Path
) -> tuple[Run, Outputs]:
    """The same of these cells, where the submission's files lie beside them."""
    outputs = Outputs()
    try:
        copy_for(submission, scratch / "work")
    except Unreadable as error:
        return Run(unreadable=str(error)), outputs
    except OSError as error:
        words = f"it cannot be copied: {error}"
        full = error.errno in OURS
        return Run(not_started=words) if full else Run(unreadable=words), outputs
    try:
        (scratch / "tests").mkdir()
        for directory in ("work", "tests"):
            copy_beside(material.beside, scratch / directory)
    except OSError as error:
        return Run(not_started=f"what lies beside it cannot be copied: {error}"), outputs
    with own_event_loop():
        return _Runner(material, scratch, outputs).run(cells), outputs


class _Runner:
    def __init__(self, material: Material, scratch: Path, outputs: Outputs) -> None:
        self._material, self._scratch, self._outputs = material, scratch, outputs
        self._give_up = time.monotonic() + material.limits.whole
        self._outside: list[str] = []
        self._too_long: list[str] = []
        """Which times were over, in words."""
        self._exchange: Exchange | None = None
        """From the first test on."""

    def run(self, cells: tuple[Cell, ...]) -> Run:
        cases = self._material.assignment.cases
        with ThreadPoolExecutor(1, thread_name_prefix="moat-tester") as thread:
            # It takes as long to start as the submission's own, so both start at once.
            tests = thread.submit(self._started, "tests", kernels=False) if cases else None
            try:
                return self._run(cells, tests)
            except MoatError as error:
                return Run(not_started=str(error))
            finally:
                if tests is not None:
                    with contextlib.suppress(MoatError):
                        tests.result().stop()

    def _started(self, directory: str, *, kernels: bool) -> Sandbox:
        plan, workspace = self._material.plan, self._scratch / directory
        return Sandbox.launch(
            plan.file.path,
            plan.runtime.capabilities.name,
            directory=workspace,
            workspace="notebook",
            spare=False,
            pooled=False,
            kernels=kernels,
            progress=Silent,
            on_event=lambda kind, text: self._hear(kind, text, directory),
            before_start=lambda plan: _give(workspace, plan),
        )

    @contextlib.contextmanager
    def _kernel(self) -> Iterator[Kernel]:
        """The submission's, with its sandbox."""
        with self._started("work", kernels=True) as sandbox, self._material.live.kept(sandbox):
            kernel = Kernel.launch(sandbox, times_cells=False, cwd=str(self._scratch / "work"))
            try:
                connect(kernel)
                yield kernel
            finally:
                kernel.close()

    def _hear(self, kind: str, text: str, directory: str) -> None:
        if kind in ("protected_made", "protected_changed") and directory == "work":
            self._outside.append(one_line(text))

    def _run(self, cells: tuple[Cell, ...], tests: Future[Sandbox] | None) -> Run:
        ran: list[CellRun] = []
        found: list[TestRun] = []
        with self._kernel() as kernel, contextlib.ExitStack() as stack:
            for step in _steps(cells, self._material.assignment):
                if isinstance(step, Cell):
                    ran.append(self._run_cell_if_any_may(kernel, step))
                elif tests is not None:
                    found.append(self._run_test(step, kernel, tests, stack))
            return self._seen(kernel, tuple(ran), tuple(found))

    # -------- its cells

    def _run_cell_if_any_may(self, kernel: Kernel, cell: Cell) -> CellRun:
        if self._outputs.too_much or kernel.why_ended() or self._is_over():
            return CellRun(number=cell.number, outcome="not run")
        return self._run_cell(kernel, cell)

    def _run_cell(self, kernel: Kernel, cell: Cell) -> CellRun:
        limits = self._material.limits
        seconds = min(limits.cell, self._left())
        options = Options(timeout=seconds)
        self._outputs.begin(cell.number, options.cancelled)
        made = CellRun(number=cell.number, outcome="ran")
        try:
            run_cell(kernel, cell.source, self._outputs.show, options)
        except MoatRemoteError as error:
            words = one_line(named_error(error.ename, error.evalue)[:LONGEST_WHY])
            made = CellRun(number=cell.number, outcome="raised", error=words)
        except CellInterrupted as error:
            if options.cancelled.is_set():
                return CellRun(number=cell.number, outcome="stopped")
            made = CellRun(number=cell.number, outcome="timed out")
            limit = f"{limits.cell:g} s"
            if seconds < limits.cell:
                limit = f"the {limits.whole:g} s for the whole"
            goes_on = ""
            if not error.stopped:
                goes_on = ", and did not stop, so its kernel was ended"
                kernel.signal_kernel(signal.SIGKILL)
            self._too_long.append(f"cell {cell.number} took longer than {limit}{goes_on}")
        except SandboxGone:
            made = CellRun(number=cell.number, outcome="ended")
        except MoatError as error:
            made = CellRun(number=cell.number, outcome="raised", error=one_line(str(error)))
        return made

    def _left(self) -> float:
        return self._give_up - time.monotonic()

    def _is_over(self) -> bool:
        return self._left() <= 0 or self._material.live.cancelled

    # -------- the tests

    def _run_test(
        self, case: Case, kernel: Kernel, tests: Future[Sandbox], stack: contextlib.ExitStack
    ) -> TestRun:
        why = "the time for the whole was over" if self._is_over() else _why_not(kernel)
        if why:
            return _test_run(case, {"why": why})
        if self._exchange is None:
            material = self._material
            stack.enter_context(material.live.kept(tests.result()))
            tester = TestsProcess(tests.result().spawn)
            self._exchange = stack.enter_context(
                Exchange(material.assignment, tester, kernel, seconds=material.limits.test)
            )
        try:
            return _test_run(case, self._exchange.run(case))
        except Unprepared:
            raise
        except MoatError as error:  # it was given more than it could look at
            return _test_run(case, {"why": f"the tests' own process has ended: {error}"})

    # -------- what was seen

    def _seen(self, kernel: Kernel, cells: tuple[CellRun, ...], tests: tuple[TestRun, ...]) -> Run:
        sandbox = kernel.sandbox
        if self._exchange is not None and self._exchange.too_long:
            self._too_long.append(self._exchange.too_long)
        too_long = "; ".join(self._too_long[:3])
        if not too_long and self._left() <= 0:
            too_long = f"the whole took longer than {self._material.limits.whole:g} s"
        ended, how = None, kernel.ended()
        if how is not None or sandbox.gone is not None:
            words = one_line(sandbox.gone or str(how))
            oom = (how is not None and how.oom) or "out of memory" in words
            ended = Ended(words=words, out_of_memory=oom)
        refused = dict.fromkeys(
            f"{record.host} {record.reason}"
            for record in sandbox.requests()
            if record.outcome == "refused"
        )
        work = f"{self._scratch / 'work'}{os.sep}"
        changes = sandbox.changes()
        dangerous = [f"{_below(c.path, work)} ({c.why})" for c in changes.dangerous]
        written = [_below(change.path, work) for change in changes.found[:MAX_LISTED]]
        return Run(
            cells=cells,
            tests=tests,
            ended=ended,
            too_long=too_long,
            too_much=self._outputs.too_much,
            refused=tuple(refused),
            outside=tuple(dict.fromkeys(dangerous or self._outside)),
            written=tuple(written),
        )


def _steps(cells: tuple[Cell, ...], assignment: Assignment) -> Iterator[Cell | Case]:
    """What runs, in its order: a test that stands in the notebook at its place there, as a later
    cell may use its names for something else, but after all that its teacher has put before it, as
    one may have what another asks for; the others last."""
    waiting = list(assignment.cases)
    reached: set[str] = set()
    for cell in cells:
        if assignment.notebook is not None and cell.test is not None:
            reached.add(cell.test)
            while waiting and waiting[0].name in reached:
                yield waiting.pop(0)
        elif cell.is_code:
            yield cell
    yield from waiting


def _below(path: str, top: str) -> str:
    return one_line(path.removeprefix(top))


def _why_not(kernel: Kernel) -> str:
    why = kernel.why_ended()
    return "" if why is None else f"its kernel had ended: {why}"


def _test_run(case: Case, result: Mapping[str, Any]) -> TestRun:
    points, why = earned(case.points, result)
    passed = not why
    if printed := str(result.get("printed") or "")[:LONGEST_WHY]:
        why += f"\nprinted:\n{printed}"
    return TestRun(
        name=case.name,
        passed=passed,
        points=points,
        of=case.points,
        why="" if passed else why,
        hidden=case.hidden,
    )


def _give(directory: Path, plan: LaunchPlan) -> None:
    """Have a copy be its sandbox's to write, where root makes it."""
    if os.getuid() != 0:
        return
    user = plan.spec.user
    for path, names, files in os.walk(directory):
        os.chown(path, user.uid, user.gid)
        for name in (*names, *files):
            os.chown(Path(path, name), user.uid, user.gid, follow_symlinks=False)
