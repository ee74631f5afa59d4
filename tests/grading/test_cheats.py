"""Points that nobody earned: each way is tried where it works, and on `moat-nb grade`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.grading.cheats import CHEATS, HONEST, TESTS
from tests.grading.conftest import Course

NEEDED = {"test_array": "numpy", "test_frame": "pandas"}

IN_ONE_KERNEL = """\
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors='NoColor')
cells, test = {cells!r}, {test!r}
shell.run_cell(cells, store_history=True)
result = shell.run_cell(test, store_history=True)
sys.stdout.flush()
import os
os.write(1, b'EARNED' if result.success else b'FAILED')
os._exit(0)
"""


def as_cell(name: str) -> str:
    """The test of this name, as a cell of its statements."""
    body = TESTS.split(f"def {name}():\n")[1].split("\ndef test_")[0]
    lines = [line.removeprefix("    ") for line in body.splitlines()]
    return (
        "\n".join(lines).replace("    return\n", "    pass\n").replace("\nraise", "\nif 0: raise")
    )


@pytest.mark.parametrize("name", CHEATS)
def test_each_passes_where_its_cells_and_the_test_run_in_one_kernel(
    name: str, tmp_path: Path
) -> None:
    cheat = CHEATS[name]
    program = IN_ONE_KERNEL.format(cells=cheat.source, test=as_cell(cheat.test))
    words = [sys.executable, "-c", program]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.endswith("EARNED"), done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.timeout(1200)
def test_none_earns_a_point_and_who_answers_earns_all(course: Course) -> None:
    there = {"bubblewrap": {"numpy", "pandas"}, "docker": set()}[course.runtime]
    missing = {test for test, library in NEEDED.items() if library not in there}
    tests = "".join(
        f"def {part}" for part in TESTS.split("def ")[1:] if part.partition("(")[0] not in missing
    )
    (course.directory / "tests.py").write_text(tests)
    tried = {name: cheat for name, cheat in CHEATS.items() if cheat.test not in missing}
    names = {f"cheat-{number}": name for number, name in enumerate(tried)}
    course.hand_in(
        {"honest": [HONEST], **{short: [tried[name].source] for short, name in names.items()}}
    )
    grades = course.grade()
    honest = grades.pop("honest")
    assert (honest["verdict"], honest["points"]) == ("passed", honest["of"]), honest
    earned = {
        names[short]: test["why"]
        for short, grade in grades.items()
        for test in grade["tests"]
        if test["name"] == tried[names[short]].test and test["passed"]
    }
    assert earned == {}
    assert all(grade["points"] == 0 for grade in grades.values()), [
        (names[short], [test["name"] for test in grade["tests"] if test["passed"]])
        for short, grade in grades.items()
        if grade["points"]
    ]
