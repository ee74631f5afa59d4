"""The command that grades, and its help."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from moat_nb.cli.options import Commands, add, add_json, add_project, add_runtime

__all__ = ["add_grade_command"]

DETAIL = """\
Each SUBMISSION is a student's directory, or a notebook. It runs in a fresh sandbox of the
project's moat.yaml that sees a copy of it and nothing else. The tests run over what its cells
left, in another sandbox: a submission never sees them, nor decides how a comparison ends.

TESTS is the notebook that you wrote with nbgrader's test cells, a .py file with functions test_...,
or a file or directory of otter-grader's tests. Without it a submission passes if its cells run.

The exit code is 0 when all were graded, whatever their verdicts; 1 when a sandbox did not start;
130 after Ctrl-C, which keeps what was graded."""


def add_grade_command(commands: Commands) -> None:
    parser = add(
        commands,
        "grade",
        "run and grade the notebooks of a class, each in a sandbox of its own",
        DETAIL,
        "moat-nb grade handed-in/* --tests square.py",
    )
    parser.add_argument("submissions", nargs="+", type=Path, metavar="SUBMISSION")
    parser.add_argument("--tests", type=Path, metavar="TESTS", help="see above")
    parser.add_argument(
        "--with",
        dest="beside",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="a file or directory of yours that lies beside each notebook, as its data do; may be "
        "repeated",
    )
    parser.add_argument(
        "--notebook", metavar="NAME", help="which one, where a directory has several"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("grades"),
        metavar="DIR",
        help="where report.html, results.csv and results.json are written (default: grades)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="keep the results that are there already, of the same files and tests",
    )
    parser.add_argument("--jobs", "-j", type=_count, metavar="N", help="so many at a time")
    for name, default, what in (
        ("cell-timeout", 60, "each cell"),
        ("test-timeout", 30, "each test"),
        ("timeout", 600, "each submission as a whole"),
    ):
        parser.add_argument(
            f"--{name}",
            type=_seconds,
            default=float(default),
            metavar="S",
            help=f"seconds for {what} (default: {default})",
        )
    add_runtime(parser)
    add_json(parser)
    add_project(parser)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of submissions from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds
