"""Many submissions, some at a time, each result kept as soon as it is there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_nb.errors import MoatError
from moat_nb.grading.outputs import Outputs
from moat_nb.grading.run import Material, run_submission
from moat_nb.grading.submissions import Cell, Submission, Unreadable
from moat_nb.grading.verdict import Run, verdict_of
from moat_nb.host.cleanup import remove_tree
from moat_nb.host.scratch import scratch_directory
from moat_nb.host.whole_file import write_whole
from moat_nb.text.terminal import LOGGER

__all__ = ["Batch", "Grade"]

PLAIN_NAME = re.compile(r"\w[\w.-]{0,80}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Grade:
    """What is known of one submission, as JSON has it."""

    submission: str
    verdict: str
    detail: str
    points: float
    of: float
    seconds: float
    digest: str
    """Of all that the grade depends on."""
    tests: list[dict[str, Any]]
    cells: list[dict[str, Any]]
    """``number``, ``source``, ``outcome`` (``text`` where nothing is run), ``error`` and
    ``outputs``, which are harmless."""
    written: list[str]

    def summary(self) -> dict[str, Any]:
        """Without what its cells say and show."""
        fields = dataclasses.asdict(self)
        del fields["digest"]
        fields["cells"] = [
            {name: cell[name] for name in ("number", "outcome", "error")}
            for cell in self.cells
            if cell["outcome"] != "text"
        ]
        return fields


@dataclass(frozen=True, kw_only=True)
class Batch:
    material: Material
    directory: Path
    """Where the results are kept."""
    jobs: int
    resume: bool = False
    """Whether results that are there already, of the same files and tests, stand."""

    def grade(
        self, submissions: Sequence[Submission], tell: Callable[[Grade], None]
    ) -> tuple[list[Grade], bool]:
        """The grades, in the order of the submissions, and whether all were graded: a
        KeyboardInterrupt ends what runs, and what was graded before stands. ``tell`` is called
        with each as it is there."""
        done: dict[str, Grade] = {}
        whole = True
        # A hidden name, and no other than the user may enter it: all submissions are copied there.
        with (
            scratch_directory("moat-grade-") as scratch,
            ThreadPoolExecutor(self.jobs, thread_name_prefix="moat-grade") as threads,
        ):
            waiting: list[Future[Grade]] = []
            try:
                for submission in submissions:
                    waiting.append(threads.submit(self._graded, submission, scratch))
                for ready in as_completed(waiting):
                    grade = ready.result()
                    done[grade.submission] = grade
                    tell(grade)
            except KeyboardInterrupt:
                whole = False
            finally:
                if len(done) < len(submissions):
                    for future in waiting:
                        future.cancel()
                    self.material.live.stop()
        return [done[one.name] for one in submissions if one.name in done], whole

    def _graded(self, submission: Submission, scratch: Path) -> Grade:
        began = time.monotonic()
        try:
            digest = submission.digest(self._digest())
        except (OSError, Unreadable):
            digest = ""  # what cannot be read is said when it is tried
        kept = self._kept(submission, digest) if self.resume and digest else None
        if kept is not None:
            return kept
        run, cells, outputs = self._run(submission, scratch)
        if self.material.live.cancelled:
            raise MoatError("grading was interrupted")
        grade = _grade_of(
            submission,
            run,
            shown=list(_shown(run, cells, outputs)),
            of=self.material.assignment.points,
            seconds=time.monotonic() - began,
            digest=digest,
        )
        with suppress(OSError):  # the report says so, if there is no room
            self._keep(grade)
        return grade

    def _run(self, submission: Submission, scratch: Path) -> tuple[Run, tuple[Cell, ...], Outputs]:
        own = scratch / hashlib.sha256(submission.name.encode()).hexdigest()[:16]
        try:
            own.mkdir(mode=0o755)
            return run_submission(submission, self.material, own)
        except Exception as error:  # a fault of ours, which one submission found: others go on
            LOGGER.exception("grading %s", submission.name)
            return Run(not_started=f"{type(error).__name__}: {error}"), (), Outputs()
        finally:
            remove_tree(str(own))

    # -------- what is kept

    def others(self, submissions: Sequence[Submission]) -> list[Grade]:
        """The results that are there of submissions that are none of these."""
        found = []
        for path in sorted((self.directory / "submissions").glob("*.json")):
            with suppress(OSError, ValueError, TypeError):
                found.append(Grade(**json.loads(path.read_bytes())))
        names = {submission.name for submission in submissions}
        return [grade for grade in found if grade.submission not in names]

    def _digest(self) -> str:
        material = self.material
        beside = sorted(
            f"{path} {path.lstat().st_mtime_ns} {path.lstat().st_size}"
            for top in material.beside
            for path in (top, *top.rglob("*"))
        )
        file, runtime = material.plan.file.digest, material.plan.runtime.capabilities.name
        return repr((file, material.assignment.digest, material.limits, beside, runtime))

    def _file(self, name: str) -> Path:
        if not PLAIN_NAME.fullmatch(name):
            name = f"-{hashlib.sha256(name.encode()).hexdigest()[:32]}"  # no plain name's
        return self.directory / "submissions" / f"{name}.json"

    def _keep(self, grade: Grade) -> None:
        path = self._file(grade.submission)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(dataclasses.asdict(grade)))

    def _kept(self, submission: Submission, digest: str) -> Grade | None:
        try:
            grade = Grade(**json.loads(self._file(submission.name).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        same = grade.digest == digest and grade.submission == submission.name
        return grade if same and grade.verdict != "not graded" else None


def _grade_of(
    submission: Submission,
    run: Run,
    *,
    shown: list[dict[str, Any]],
    of: float,
    seconds: float,
    digest: str,
) -> Grade:
    verdict = verdict_of(run)
    return Grade(
        submission=submission.name,
        verdict=verdict.kind,
        detail=verdict.detail,
        points=sum(test.points for test in run.tests),
        of=of,
        seconds=round(seconds, 2),
        digest=digest,
        tests=[dataclasses.asdict(test) for test in run.tests],
        cells=shown,
        written=list(run.written),
    )


def _shown(run: Run, cells: tuple[Cell, ...], outputs: Outputs) -> Iterator[dict[str, Any]]:
    ran = {cell.number: dataclasses.asdict(cell) for cell in run.cells}
    for cell in cells:
        if cell.number in ran or not cell.is_code:
            how = ran.get(cell.number, {"number": cell.number, "outcome": "text", "error": ""})
            yield {**how, "source": cell.source, "outputs": outputs.of(cell.number)}
