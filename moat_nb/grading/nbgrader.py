"""nbgrader runs a submission in one sandbox, and its own tests over it in another.

In ``nbgrader_config.py``::

    from moat_nb.grading.nbgrader import use_sandboxes
    use_sandboxes(c)

https://nbgrader.readthedocs.io/en/stable/config_options.html; written against nbgrader 0.9.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from nbgrader import utils
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import Execute, NbGraderPreprocessor, SaveAutoGrades
from traitlets import Float, Unicode

from moat_nb.errors import MoatError
from moat_nb.grading.annotated import annotate, comment_of, make_harmless
from moat_nb.grading.assignment import of_nbgrader
from moat_nb.grading.outputs import Outputs
from moat_nb.grading.run import Limits, Live, Material, run_cells
from moat_nb.grading.submissions import Submission, cells_in
from moat_nb.grading.verdict import Run, verdict_of
from moat_nb.host.cleanup import remove_tree
from moat_nb.host.scratch import scratch_directory
from moat_nb.sandbox.approval import check
from moat_nb.sandbox.project import plan_project
from moat_nb.text.terminal import LOGGER

__all__ = ["FinishSandboxed", "SandboxedExecute", "use_sandboxes"]

VERDICT = "moat_verdict"
"""In an exporter's resources."""


def use_sandboxes(config: Any, *, kernel: str = "") -> None:
    """Have ``nbgrader autograde``, and formgrader's, run submissions in sandboxes.

    ``kernel`` is the name of a kernel of ``moat-nb install --workspace notebook``; in it
    ``nbgrader validate`` runs a notebook, whichever kernel that names itself.
    """
    steps = list(Autograde.autograde_preprocessors.default())
    if "autograde_preprocessors" in config.Autograde:
        steps = list(config.Autograde.autograde_preprocessors)
    at = steps.index(Execute)
    steps[at] = SandboxedExecute
    steps.insert(steps.index(SaveAutoGrades) + 1, FinishSandboxed)
    config.Autograde.autograde_preprocessors = steps
    if kernel:
        config.Execute.kernel_name = kernel


class SandboxedExecute(Execute):  # type: ignore[misc]  # which has no types
    """In place of nbgrader's Execute, whose ``timeout`` it has, and whose ``--no-execute``."""

    project = Unicode(
        "", help="The directory whose moat.yaml is used; by default the course's root."
    ).tag(config=True)
    runtime = Unicode("", help="docker, podman, bubblewrap; by default what moat.yaml says.").tag(
        config=True
    )
    test_timeout = Float(30.0, help="Seconds for each test.").tag(config=True)
    whole_timeout = Float(600.0, help="Seconds for each submission.").tag(config=True)

    def preprocess(self, nb: Any, resources: Any, km: Any = None) -> tuple[Any, Any]:
        place = _Place(self, resources)
        try:
            run, outputs = self._run(nb, place)
        except MoatError as error:
            raise NbGraderException(str(error)) from error
        if run.not_started:
            raise NbGraderException(run.not_started)
        verdict = verdict_of(run)
        words = comment_of(verdict)
        self.log.info("%s: %s", place.student, words or verdict.kind)
        annotate(nb, run, outputs)
        resources[VERDICT] = words
        return nbformat.from_dict(nb), resources

    def _run(self, nb: Any, place: _Place) -> tuple[Run, Outputs]:
        _refuse_links(place.handed_in)
        language = nb.metadata.get("kernelspec", {}).get("language", "python")
        if language != "python":
            raise MoatError(f"{place.source} is in {language}; tests run in Python alone")
        tests = of_nbgrader(place.source, nb)
        plan = plan_project(
            Path(self.project or place.course.root).absolute(),
            self.runtime or None,
            overrides={"workspace": "notebook", "spare": False},
        )
        check(plan)
        LOGGER.addHandler(logging.NullHandler())  # what a sandbox does is in the verdict
        limit = self.timeout or self.whole_timeout
        live = Live()
        # Whoever calls may have an event loop of its own in this thread, as formgrader has.
        with (
            scratch_directory("moat-grade-") as scratch,
            ThreadPoolExecutor(1, thread_name_prefix="moat-grade") as thread,
        ):
            own = scratch / "submission"
            own.mkdir(mode=0o755)
            material = Material(
                plan=plan,
                assignment=tests,
                beside=self._given(place, scratch / "given"),
                limits=Limits(cell=limit, test=self.test_timeout, whole=self.whole_timeout),
                live=live,
            )
            submission = Submission(
                name=place.student,
                notebook=place.handed_in / place.source.name,
                directory=place.handed_in,
            )
            try:
                return thread.submit(run_cells, cells_in(nb), submission, material, own).result()
            finally:
                live.stop()
                thread.shutdown()
                remove_tree(str(own))

    def _given(self, place: _Place, target: Path) -> tuple[Path, ...]:
        """A copy of the teacher's files that nbgrader puts beside a submission."""
        target.mkdir()
        directory = place.source.parent
        excluded = self.config.Autograde.get("exclude_overwriting", {})
        theirs = set(excluded.get(place.assignment, ()))
        for name in utils.find_all_files(str(directory), [*place.course.ignore, "*.ipynb"]):
            below = os.path.relpath(name, directory)
            if below not in theirs:
                (target / below).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(name, target / below)
        return tuple(sorted(target.iterdir()))


class FinishSandboxed(NbGraderPreprocessor):  # type: ignore[misc]
    """The verdict as a comment, and a notebook that formgrader and feedback can show."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        place = _Place(self, resources)
        answers = [cell for cell in nb.cells if utils.is_solution(cell) or utils.is_task(cell)]
        words = resources.get(VERDICT)
        if words and answers:
            name = answers[0].metadata.nbgrader["grade_id"]
            with Gradebook(resources["nbgrader"]["db_url"]) as gradebook:
                comment = gradebook.find_comment(
                    name, place.source.stem, place.assignment, place.student
                )
                comment.auto_comment = "\n\n".join(filter(None, (comment.auto_comment, words)))
                gradebook.db.commit()
        make_harmless(nb, frozenset(place.own()))
        return nbformat.from_dict(nb), resources


class _Place:
    """Where a course has what belongs to one notebook of one student."""

    def __init__(self, step: Any, resources: Any) -> None:
        about = resources["nbgrader"]
        self.student, self.assignment = about["student"], about["assignment"]
        self.course = CourseDirectory(parent=step)
        self._name = f"{about['notebook']}.ipynb"
        self.source = self._at(self.course.source_directory, ".") / self._name
        self.handed_in = self._at(self.course.submitted_directory, self.student)

    def _at(self, step: str, student: str) -> Path:
        return Path(self.course.format_path(step, student, self.assignment))

    def own(self) -> Iterator[str]:
        """The texts of the teacher's cells, and of those that nbgrader has put around them."""
        for path in (self.source, self._at(self.course.release_directory, ".") / self._name):
            if path.exists():
                yield from (cell.source for cell in nbformat.read(path, 4).cells)


def _refuse_links(handed_in: Path) -> None:
    """nbgrader copies what a link leads to, with its user's rights: a solution, another's work."""
    for directory, names, files in os.walk(handed_in):
        for name in (*names, *files):
            path = Path(directory, name)
            if path.is_symlink():
                raise NbGraderException(
                    f"{path} is a link, and what it leads to may not be the student's. Remove it "
                    "to grade this submission"
                )
