"""`moat-nb grade`: a class's notebooks, run and graded."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path

from moat_nb.cli.allow import on_terminal
from moat_nb.errors import MoatError
from moat_nb.grading import assignment as assignments
from moat_nb.grading import report
from moat_nb.grading.assignment import NO_TESTS, Assignment
from moat_nb.grading.batch import Batch, Grade
from moat_nb.grading.run import Limits, Material
from moat_nb.grading.submissions import Submission, find
from moat_nb.host.machine import Host
from moat_nb.sandbox.approval import check
from moat_nb.sandbox.images import build_images
from moat_nb.sandbox.project import LaunchPlan, plan_project
from moat_nb.text.progress import for_user
from moat_nb.text.terminal import LOGGER, one_line

__all__ = ["grade", "jobs_of", "prepared"]

INTERRUPTED = 130
MAX_NAMED = 3


def grade(arguments: argparse.Namespace) -> int:
    assignment = NO_TESTS if arguments.tests is None else assignments.read(arguments.tests)
    submissions = find(arguments.submissions, arguments.notebook or assignment.notebook)
    # Each by its own name, which `..` is not.
    beside = tuple(Path(os.path.abspath(path)) for path in arguments.beside)  # noqa: PTH100
    for path in beside:
        if not path.exists():
            raise MoatError(f"{path}: no such file or directory")
    plan = prepared(arguments.project, arguments.runtime)
    # What a sandbox does is in its verdict; the log would say it between the lines of the table.
    LOGGER.addHandler(logging.NullHandler())
    batch = Batch(
        material=Material(
            plan=plan,
            assignment=assignment,
            beside=beside,
            limits=Limits(
                cell=arguments.cell_timeout, test=arguments.test_timeout, whole=arguments.timeout
            ),
        ),
        directory=arguments.out,
        jobs=min(len(submissions), arguments.jobs or jobs_of(plan)),
        resume=arguments.resume,
    )
    _say_what_is_loose(plan)
    grades, whole = _graded(batch, submissions)
    missing = len(submissions) - len(grades)
    if others := batch.others(submissions):
        print(
            one_line(f"moat-nb: {_before(others, arguments.out, resume=batch.resume)}"),
            file=sys.stderr,
        )
        grades += others if batch.resume else []
    page = report.write(grades, assignment, arguments.out, whole=whole)
    _say(grades, assignment, page, missing=missing, as_json=arguments.json)
    if not whole:
        return INTERRUPTED
    return 1 if any(grade.verdict == "not graded" for grade in grades) else 0


def prepared(project: str, runtime: str | None) -> LaunchPlan:
    """What each sandbox is started by, checked and built before the first is."""
    plan = plan_project(
        Path(project).absolute(),
        runtime,
        overrides={"workspace": "notebook", "spare": False},
    )
    check(plan, on_terminal())
    build_images(plan)
    return plan


def jobs_of(plan: LaunchPlan) -> int:
    """As many as there are CPUs, and as the machine's memory holds. The sandboxes of the tests,
    which are the teacher's own, are not counted."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = plan.spec.limits.memory
    return max(1, min(cpus, Host.current().memory // memory if memory else cpus))


def _before(others: list[Grade], directory: Path, *, resume: bool) -> str:
    names = ", ".join(grade.submission for grade in others[:MAX_NAMED])
    if len(others) > MAX_NAMED:
        names += f" and {len(others) - MAX_NAMED} more"
    then = "they stand" if resume else "with --resume they would stand in the report"
    return f"graded before, and not named now: {names} (in {directory}); {then}"


def _say_what_is_loose(plan: LaunchPlan) -> None:
    for words in plan.runtime.notices(plan.spec, plan.image):
        print(one_line(f"moat-nb: {words}"), file=sys.stderr)
    policy = plan.config.network.policy
    if policy not in ("none", "strict"):
        why = f"network.policy: {policy}" if policy else "no network.policy"
        print(
            f"moat-nb: submissions may reach the network ({why}); "
            "network: {policy: none} in moat.yaml closes it",
            file=sys.stderr,
        )


def _graded(batch: Batch, submissions: list[Submission]) -> tuple[list[Grade], bool]:
    progress = for_user()
    count = 0

    def tell(grade: Grade) -> None:
        nonlocal count
        count += 1
        progress.update(count, len(submissions))
        progress.log(f"{grade.submission}: {grade.verdict}")

    progress.stage(f"grading {len(submissions)} submissions, {batch.jobs} at a time")
    try:
        return batch.grade(submissions, tell)
    finally:
        progress.close()


def _say(
    grades: list[Grade], assignment: Assignment, page: Path, *, missing: int, as_json: bool
) -> None:
    if as_json:
        print(json.dumps(report.as_json(grades, assignment, whole=not missing), indent=2))
        return
    print(report.as_table(grades))
    print(f"\n{report.counted(grades)}")
    for name, worth in assignment.by_hand:
        print(one_line(f"to be read by a person: {name} ({worth:g} points)"))
    print(one_line(f"what each notebook showed: {page}"))
    if missing:
        words = f"interrupted: {missing} not graded; the rest with --resume"
        print(words, file=sys.stderr)
