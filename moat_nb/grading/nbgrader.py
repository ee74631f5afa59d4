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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbgrader import utils
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.nbgraderformat import SCHEMA_VERSION
from nbgrader.preprocessors import Execute, NbGraderPreprocessor, SaveAutoGrades
from traitlets import Float, Unicode
from traitlets.utils.importstring import import_item

from moat_nb.errors import MoatError
from moat_nb.grading.annotated import (
    annotate,
    comment_of,
    make_harmless,
    make_outputs_harmless,
)
from moat_nb.grading.assignment import of_nbgrader
from moat_nb.grading.outputs import Outputs
from moat_nb.grading.run import Limits, Live, Material, run_cells
from moat_nb.grading.submissions import (
    MAX_CELLS,
    Submission,
    Unreadable,
    cells_in,
    check_copied,
)
from moat_nb.grading.verdict import Run, verdict_of
from moat_nb.host.cleanup import remove_tree
from moat_nb.host.scratch import scratch_directory
from moat_nb.sandbox.approval import check
from moat_nb.sandbox.images import build_images
from moat_nb.sandbox.project import LaunchPlan, plan_project
from moat_nb.text.terminal import LOGGER
from moat_nb.text.untrusted import as_dict

__all__ = [
    "FinishSandboxed",
    "HarmlessNotebook",
    "RestoreCells",
    "SandboxedExecute",
    "use_sandboxes",
]

LOGGER.addHandler(logging.NullHandler())  # what a sandbox does is in the verdict

VERDICT = "moat_verdict"
"""In an exporter's resources."""
SHOWN = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".csv", ".tsv", ".txt", ".pdf"})
"""Files that no browser runs; notebooks are written there once they are harmless."""


def use_sandboxes(config: Any, *, kernel: str = "") -> None:
    """Have ``nbgrader autograde``, and formgrader's, run submissions in sandboxes.

    ``kernel`` is the name of a kernel of ``moat-nb install --workspace notebook``; in it
    ``nbgrader validate`` runs a notebook, whichever kernel that names itself.
    """
    first, then = (_steps(config, name) for name in ("sanitize", "autograde"))
    if SandboxedExecute not in then:
        config.Autograde.sanitize_preprocessors = [RestoreCells, *first, HarmlessNotebook]
        then[then.index(Execute)] = SandboxedExecute
        then.insert(then.index(SaveAutoGrades) + 1, FinishSandboxed)
        config.Autograde.autograde_preprocessors = then
    if kernel:
        config.Execute.kernel_name = kernel
    if Autograde.init_assignment is not _init_assignment:
        # What nbgrader's own hook before it raises is passed over.
        Autograde.init_assignment = _init_assignment
        Autograde.convert_notebooks = _convert_notebooks


def _steps(config: Any, name: str) -> list[Any]:
    own = config.Autograde.get(f"{name}_preprocessors")
    default = getattr(Autograde, f"{name}_preprocessors").default()
    if own is not None and not isinstance(own, list):  # what .append() has left to be added later
        own = own.get_value(default)
    steps = [import_item(step) if isinstance(step, str) else step for step in own or default]
    if name == "autograde" and not {Execute, SandboxedExecute} & {*steps}:
        raise MoatError(f"c.Autograde.{name}_preprocessors has no Execute to take the place of")
    return steps


_convert = Autograde.convert_notebooks


def _convert_notebooks(converter: Any) -> None:
    """Refuse what no submission could start by before nbgrader removes an earlier result, as it
    does with ``--force``, and once for all of them."""
    execute = SandboxedExecute(parent=converter)
    if execute.enabled:
        try:
            execute.plan(Path(converter.coursedir.root))
        except MoatError as error:
            converter.log.error("%s", error)
            raise NbGraderException(str(error)) from error
    _convert(converter)


_copy = Autograde.init_assignment


def _init_assignment(converter: Any, assignment: str, student: str) -> None:
    """Look at what was handed in before nbgrader copies it, and leave no more of it than its pages
    are to show: they serve these files with its user's rights."""
    course = converter.coursedir
    submitted = Path(course.format_path(course.submitted_directory, student, assignment))
    try:
        check_copied(submitted, below=Path(course.root))
    except Unreadable as error:
        raise NbGraderException(str(error)) from error
    _copy(converter, assignment, student)
    theirs = {path.relative_to(submitted) for path in submitted.rglob("*") if path.is_file()}
    source = Path(course.format_path(course.source_directory, ".", assignment))
    graded = Path(course.format_path(course.autograded_directory, student, assignment))
    own = set(converter.exclude_overwriting.get(assignment, ()))
    for path in theirs:
        is_mine = (source / path).exists() and str(path) not in own
        if path.suffix.lower() not in {*SHOWN, ".ipynb"} and not is_mine:
            (graded / path).unlink(missing_ok=True)


class RestoreCells(NbGraderPreprocessor):  # type: ignore[misc]  # which has no types
    """What nbgrader has noted at each cell, as the gradebook has it: by what a submission says of
    its own cells they would choose how they are scored."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        if len(nb.cells) > MAX_CELLS:
            raise NbGraderException(f"it has more than {MAX_CELLS} cells")
        place = _Place(self, resources)
        with Gradebook(resources["nbgrader"]["db_url"]) as gradebook:
            noted = _noted(gradebook.find_notebook(place.source.stem, place.assignment))
        missing = dict(noted)
        for cell in reversed(nb.cells):  # the last of several copies is the one, as for nbgrader
            name = as_dict(cell.metadata.pop("nbgrader", None)).get("grade_id")
            if isinstance(name, str) and name in missing:
                cell.metadata["nbgrader"] = missing.pop(name).about
        for note in missing.values():
            if note.is_test:
                self.log.warning("a test was not handed in, and is put back: %s", note.name)
                made = nbformat.v4.new_code_cell(note.source)
                if nb.nbformat_minor < 5:
                    del made["id"]
                nb.cells.append({**made, "metadata": {"nbgrader": note.about}})
        return nbformat.from_dict(nb), resources


@dataclass(frozen=True, kw_only=True)
class _Note:
    """What the gradebook has of a cell."""

    name: str
    about: dict[str, Any]
    source: str

    @property
    def is_test(self) -> bool:
        """nbgrader runs it, and nobody scores it."""
        own = self.about
        return bool(own["grade"] and not own["solution"] and own["cell_type"] == "code")


def _noted(notebook: Any) -> dict[str, _Note]:
    worth = {cell.name: cell.max_score for cell in (*notebook.grade_cells, *notebook.task_cells)}
    solutions = {cell.name for cell in notebook.solution_cells}
    tasks = {cell.name for cell in notebook.task_cells}
    found = {}
    for cell in notebook.source_cells:
        about = {
            "grade_id": cell.name,
            "cell_type": cell.cell_type,
            "locked": bool(cell.locked),
            "grade": cell.name in worth and cell.name not in tasks,
            "solution": cell.name in solutions,
            "task": cell.name in tasks,
            "checksum": cell.checksum,
            "schema_version": SCHEMA_VERSION,
        }
        if cell.name in worth:
            about["points"] = worth[cell.name]
        found[cell.name] = _Note(name=cell.name, about=about, source=cell.source or "")
    return found


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
        except (MoatError, Unreadable) as error:
            raise NbGraderException(str(error)) from error
        if run.not_started:
            raise NbGraderException(run.not_started)
        verdict = verdict_of(run)
        words = comment_of(verdict)
        self.log.info("%s: %s", place.student, words or verdict.kind)
        annotate(nb, run, outputs)
        resources[VERDICT] = words
        return nbformat.from_dict(nb), resources

    def plan(self, root: Path) -> LaunchPlan:
        """What each submission of the course at ``root`` is started by. Raises MoatError."""
        made = plan_project(
            Path(self.project or root).absolute(),
            self.runtime or None,
            overrides={"workspace": "notebook", "spare": False},
        )
        check(made)
        return made

    def _run(self, nb: Any, place: _Place) -> tuple[Run, Outputs]:
        language = nb.metadata.get("kernelspec", {}).get("language", "python")
        if language != "python":
            raise MoatError(f"{place.source} is in {language}; tests run in Python alone")
        tests = of_nbgrader(place.source, place.tests(), release=place.release)
        plan = self.plan(Path(place.course.root))
        build_images(plan)  # whoever waits sees it, and no submission's time counts for it
        has_limit = self.timeout is not None and self.timeout > 0
        limit = self.timeout if has_limit else self.whole_timeout
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


class HarmlessNotebook(NbGraderPreprocessor):  # type: ignore[misc]
    """The last step before a notebook lies in ``autograded/``, which formgrader shows at once."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        make_harmless(nb, frozenset(_Place(self, resources).own()))
        return nbformat.from_dict(nb), resources


class FinishSandboxed(NbGraderPreprocessor):  # type: ignore[misc]
    """The verdict as a comment, and outputs that formgrader and feedback can show."""

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
        make_outputs_harmless(nb)
        return nbformat.from_dict(nb), resources


class _Place:
    """Where a course has what belongs to one notebook of one student."""

    def __init__(self, step: Any, resources: Any) -> None:
        about = resources["nbgrader"]
        self.student, self.assignment = about["student"], about["assignment"]
        self._gradebook = about["db_url"]
        self.course = CourseDirectory(parent=step)
        self._name = f"{about['notebook']}.ipynb"
        self.source = self._at(self.course.source_directory, ".") / self._name
        self.release = self._at(self.course.release_directory, ".") / self._name
        self.handed_in = self._at(self.course.submitted_directory, self.student)

    def _at(self, step: str, student: str) -> Path:
        return Path(self.course.format_path(step, student, self.assignment))

    def tests(self) -> list[dict[str, Any]]:
        """The tests as cells, from the gradebook: a submission has no part in them."""
        with Gradebook(self._gradebook) as gradebook:
            noted = _noted(gradebook.find_notebook(self.source.stem, self.assignment))
        return [
            {"cell_type": "code", "source": note.source, "metadata": {"nbgrader": note.about}}
            for note in noted.values()
            if note.is_test
        ]

    def own(self) -> Iterator[str]:
        """The texts of the teacher's cells, and of those that nbgrader has put around them."""
        for path in (self.source, self.release):
            if path.exists():
                yield from (cell.source for cell in nbformat.read(path, 4).cells)
