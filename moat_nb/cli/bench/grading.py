"""``moat-nb bench --grade``: a class graded in sandboxes, beside the same in plain kernels."""

from __future__ import annotations

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from moat_nb.cli.bench.kernels import TIMEOUT, plain_kernel
from moat_nb.cli.bench.memory import Peak
from moat_nb.cli.grade import jobs_of, prepared
from moat_nb.errors import MoatError
from moat_nb.grading.assignment import Assignment, Case
from moat_nb.grading.batch import Batch
from moat_nb.grading.run import Material
from moat_nb.grading.submissions import Submission
from moat_nb.host.scratch import scratch_directory
from moat_nb.jupyter.kernel_manager import own_event_loop

__all__ = ["main"]

STUDENTS = 40
TARGET = 1.15

CELLS = (
    "import math, statistics",
    "def squares(n):\n    return [k * k for k in range(n)]",
    "print(squares(5))\nstatistics.mean(squares(10))",
)
TEST = "assert squares(4) == [0, 1, 4, 9]"


def main(directory: str, *, runtime: str | None, runs: int) -> int:
    """Print the medians of ``runs`` turns, and their ratio."""
    plan = prepared(directory, runtime)
    case = Case(name="squares", source=TEST, form="code", points=1)
    assignment = Assignment(cases=(case,))
    jobs = jobs_of(plan)
    readings: list[tuple[float, float]] = []
    with scratch_directory("moat-nb-bench-") as scratch:
        submissions = [_handed_in(scratch / f"student-{n}") for n in range(STUDENTS)]
        for turn in range(runs):
            batch = Batch(
                material=Material(plan=plan, assignment=assignment),
                directory=scratch / f"grades-{turn}",
                jobs=jobs,
            )
            readings.append((_plain(jobs), _graded(batch, submissions)))
        # Not while the time is taken: it is no small work to look.
        with Peak() as peak:
            _graded(replace(batch, directory=scratch / "grades-peak"), submissions)
    plain, sandboxed = (statistics.median(column) for column in zip(*readings, strict=True))
    reached = "reached" if sandboxed / plain <= TARGET else "missed"
    print(
        f"{STUDENTS} submissions, {jobs} at a time, {plan.runtime.capabilities.name}:\n"
        f"plain kernels {plain:.1f} s, sandboxes {sandboxed:.1f} s, ratio {sandboxed / plain:.2f}, "
        f"target <= {TARGET:.2f}: {reached}\nmedians of {runs}, taken in turns\n"
        f"at most {peak.bytes / (1 << 20):.0f} MiB held by this process and all below it"
        f"{', which containers are not' if plan.runtime.capabilities.images else ''}"
    )
    return 0


def _handed_in(directory: Path) -> Submission:
    directory.mkdir()
    cells = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": one} for one in CELLS]
    notebook = directory / "ps1.ipynb"
    notebook.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "cells": cells}))
    return Submission(name=directory.name, notebook=notebook, directory=directory)


def _graded(batch: Batch, submissions: list[Submission]) -> float:
    begin = time.perf_counter()
    grades, _ = batch.grade(submissions, lambda grade: None)
    if any(grade.points != 1 for grade in grades):
        raise MoatError(f"not all passed: {[grade.detail for grade in grades]}")
    return time.perf_counter() - begin


def _plain(jobs: int) -> float:
    def one(number: int) -> None:
        with own_event_loop(), plain_kernel() as manager:
            client = manager.client()
            client.start_channels()
            client.wait_for_ready(timeout=TIMEOUT)
            for code in (*CELLS, TEST):
                reply = client.execute_interactive(code, output_hook=lambda message: None)
                if reply["content"]["status"] != "ok":
                    raise MoatError("a plain kernel did not pass the test")
            client.stop_channels()

    begin = time.perf_counter()
    with ThreadPoolExecutor(jobs) as threads:
        list(threads.map(one, range(STUDENTS)))
    return time.perf_counter() - begin
