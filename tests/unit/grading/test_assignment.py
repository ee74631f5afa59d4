"""The tests of an assignment, as nbgrader, plain Python and otter-grader have them."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from moat_nb.errors import MoatError
from moat_nb.grading.assignment import NO_TESTS, Assignment, of_nbgrader, read


def cell(source: str | list[str], kind: str = "code", **nbgrader: Any) -> dict[str, Any]:
    return {"cell_type": kind, "source": source, "metadata": {"nbgrader": nbgrader}}


def test_cell(source: str, name: str, points: Any) -> dict[str, Any]:
    return cell(source, grade=True, solution=False, grade_id=name, points=points, locked=True)


test_cell.__test__ = False  # type: ignore[attr-defined]  # makes one, and is none


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(content: Any, name: str = "ps1.ipynb") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return written


def notebook(write: Any, *cells: Any) -> Assignment:
    return read(write({"cells": list(cells), "nbformat": 4}))


# ---------------------------------------------------------------- nbgrader's


def test_a_notebooks_test_cells_are_its_cases(write: Any) -> None:
    hidden = "assert f(1)\n### BEGIN HIDDEN TESTS\nassert f(2)\n### END HIDDEN TESTS"
    made = notebook(
        write,
        test_cell("assert f(0)", "first", 2),
        test_cell(hidden, "second", 1.5),
        test_cell("assert 1", "third", None),
    )
    assert [(case.name, case.points, case.hidden, case.form) for case in made.cases] == [
        ("first", 2.0, False, "cell"),
        ("second", 1.5, True, "cell"),
        ("third", 0.0, False, "cell"),
    ]
    assert (made.points, made.notebook, made.cases[1].source) == (3.5, "ps1.ipynb", hidden)


def test_answers_that_a_person_reads_are_told(write: Any) -> None:
    made = notebook(
        write,
        cell("Why?", "markdown", grade=True, solution=True, grade_id="essay", points=3),
        cell("plot()", grade=True, solution=True, grade_id="plot", points=4),
        test_cell("assert 1", "first", 1),
    )
    assert made.by_hand == (("essay", 3.0), ("plot", 4.0))
    assert [case.name for case in made.cases] == ["first"]


def test_tests_stand_on_imports_and_on_locked_functions(write: Any) -> None:
    made = notebook(
        write,
        cell(["import math\n", "from os import path\n", "x = f()\n", "def mine(): return 1\n"]),
        cell("%matplotlib inline\n!ls\nimport json\ndef checked(): return 2", locked=True),
        cell("import csv\ndef answer(): return 3", solution=True, locked=True),
        cell("this is no Python"),
        cell("import\0"),
        cell("import no", "markdown"),
        test_cell("assert 1", "first", 1),
    )
    assert made.prepared == (
        "import math",
        "from os import path",
        "import json",
        "def checked():\n    return 2",
        "import csv",
    )


def test_what_locked_cells_and_tests_bind_is_asked_of_no_submission(write: Any) -> None:
    made = notebook(
        write,
        cell("TOL = 1e-9\nclass Checker: ...\nx = None\nprint(x)", locked=True),
        cell("x = 5\ndef answer(): return 3", solution=True),
        cell("y = 1"),
        test_cell("want = 25\nfor n in range(3): assert [m for m in (n,)]", "first", 1),
    )
    assert made.bound == ("Checker", "TOL", "n", "want")
    assert made.prepared[:2] == ("TOL = 1e-09", "class Checker:\n    ...")
    assert made.prepared[2] == "try:\n    print(x)\nexcept Exception:\n    pass"


LOCKED = """\
import random
random.seed(1)
data = [random.random() for _ in range(3)]
squares = []
for i in range(3):
    squares.append(i * i)
with open("x") as file:
    lines = file.readlines()
print(data)"""


def test_tests_stand_on_all_of_a_locked_cell(write: Any) -> None:
    made = notebook(
        write,
        cell(LOCKED, locked=True),
        cell("i = 5\nlines.append(1)\nrandom.shuffle(squares)", solution=True),
        test_cell("assert 1", "first", 1),
    )
    assert [one.splitlines()[0] for one in made.prepared] == [
        "import random",
        "try:",
        "data = [random.random() for _ in range(3)]",
        "squares = []",
        "for i in range(3):",
        "with open('x') as file:",
        "try:",
    ]
    assert made.solved == ("i", "lines")


@pytest.mark.parametrize(
    ("solution", "names"),
    [
        ("items.sort()", ("items",)),
        ("stock['a'] = 1\ndel others['b']\ntotal.x += 1", ("others", "stock", "total")),
        ("def f(items):\n    items.sort()", ("f",)),
        ("if items:\n    items.clear()\nprint(len(items))", ("items",)),
    ],
)
def test_what_a_solution_changes_in_place_is_the_submissions(
    write: Any, solution: str, names: tuple[str, ...]
) -> None:
    locked = cell("items = [1]\nstock = {}\nothers = {'b': 1}\ntotal = 0", locked=True)
    made = notebook(write, locked, cell(solution, solution=True), test_cell("assert 1", "q", 1))
    assert made.solved == names
    assert not {one.split()[0] for one in made.prepared} & set(names)


@pytest.mark.parametrize(
    ("test", "refused"),
    [
        ("assert x = 1", True),
        ("%%capture\nassert x", False),
        ("!ls\nassert x", False),
        ("x?", False),
    ],
)
def test_a_test_that_nobody_could_pass_is_refused(write: Any, test: str, refused: bool) -> None:
    with (
        pytest.raises(MoatError, match="cell 1: this test is no Python")
        if refused
        else nullcontext()
    ):
        notebook(write, test_cell(test, "first", 1))


def test_a_test_needs_what_stands_before_it(write: Any) -> None:
    made = notebook(
        write,
        cell("import math"),
        test_cell("assert 1", "first", 1),
        cell("doubled = answer * 2\nanswer = 3", locked=True),
        cell("answer = 1", solution=True),
        test_cell("assert 2", "second", 1),
        cell("import csv"),
    )
    assert made.prepared == ("import math", "doubled = answer * 2", "import csv")
    assert [case.needs for case in made.cases] == [1, 2]


def test_what_nbgrader_put_back_stands_on_the_teachers_own(write: Any, tmp_path: Path) -> None:
    source = write(
        {
            "cells": [
                cell("import math"),
                test_cell("assert 1", "first", 1),
                cell("import csv\ndef answer(): return 1", solution=True),
                test_cell("assert 2", "second", 1),
            ]
        },
        "teachers.ipynb",
    )
    tests = [
        test_cell("assert 3", "third", 1),
        test_cell("assert 22", "second", 5),
    ]
    made = of_nbgrader(source, tests)
    assert made.prepared == ("import math", "import csv")
    assert [(case.name, case.source, case.points, case.needs) for case in made.cases] == [
        ("second", "assert 22", 5, 2),
        ("third", "assert 3", 1, None),
    ]
    assert (made.solved, made.notebook) == (("answer",), "teachers.ipynb")
    assert of_nbgrader(source, []).cases == ()
    header = cell("import numpy as np\nimport math\nprint(1)")
    release = write({"cells": [header, cell("import csv", solution=True)]}, "release.ipynb")
    made = of_nbgrader(source, tests, release)
    assert made.prepared == ("import numpy as np", "import math", "import csv")
    assert [case.needs for case in made.cases] == [3, None]
    assert of_nbgrader(source, tests, tmp_path / "none.ipynb").prepared == made.prepared[1:]
    with pytest.raises(MoatError, match="the imports of the tests are read there"):
        of_nbgrader(tmp_path / "none.ipynb", tests)


@pytest.mark.parametrize(
    ("solution", "classes"),
    [
        ("class Stack: ...\nX = np.array([1])\ndef F(): ...", ("Stack",)),
        ("from queue import Queue\nimport enum as E", ("Queue", "E")),
        (
            "P = namedtuple('P', 'x y')\nQ = enum.Enum('Q', 'a')\nR, S = type('R', (), {}), 1",
            ("P", "Q"),
        ),
    ],
)
def test_a_solution_says_which_of_its_names_are_classes(
    write: Any, solution: str, classes: tuple[str, ...]
) -> None:
    made = notebook(write, cell(solution, solution=True), test_cell("assert 1", "first", 1))
    assert made.classes == classes


def test_a_name_of_pythons_that_the_solution_binds_is_asked_for(write: Any) -> None:
    made = notebook(write, cell("sum = 6\nx = max", solution=True), test_cell("assert 1", "q", 1))
    assert made.asked == ("sum",)


def test_what_an_open_cell_binds_is_the_submissions(write: Any) -> None:
    made = notebook(
        write,
        cell("data = [1, 2]\nimport math"),
        test_cell("assert data", "first", 1),
        test_cell("data = 3", "second", 1),
    )
    assert (made.bound, made.solved, made.prepared) == ((), ("data",), ("import math",))


def test_a_tests_digest_changes_with_its_text(write: Any) -> None:
    digests = {notebook(write, test_cell(f"assert {n}", "first", 1)).digest for n in (1, 1, 2)}
    assert len(digests) == 2 and "" not in digests


def test_no_tests_are_worth_nothing() -> None:
    assert (NO_TESTS.cases, NO_TESTS.points) == ((), 0)


# ---------------------------------------------------------------- Python

PYTHON = """\
import math
POINTS = {"test_one": 2, "test_two": 0.5}

def helper():
    return 1

def test_one():
    assert helper() == 1

def test_two():
    def test_inner(x):
        return x
    assert test_inner(1)

class Helper:
    def build(self):
        pass

def test_three(*args):
    pass
"""


def test_a_python_files_functions_are_its_cases(write: Any) -> None:
    made = read(write(PYTHON, "tests.py"))
    assert [(case.name, case.points) for case in made.cases] == [
        ("test_one", 2.0),
        ("test_two", 0.5),
        ("test_three", 1.0),
    ]
    assert made.cases[0].source == "def test_one():\n    assert helper() == 1\ntest_one()\n"
    assert (made.prepared, made.notebook) == ((PYTHON,), None)


def test_an_exercise_may_have_a_name_of_pythons_own(write: Any) -> None:
    made = read(write("FROM_SUBMISSION = ['max']\ndef test_a(): pass\n", "t.py"))
    assert made.asked == ("max",)
    solved = {"nbgrader": {"solution": True}}
    test = {"nbgrader": {"grade": True, "grade_id": "a", "points": 1}}
    cells = [
        {"cell_type": "code", "source": "def pow(a, b): ...\ndef f(): ...", "metadata": solved},
        {"cell_type": "code", "source": "assert pow(2, 3) == 8", "metadata": test},
    ]
    assert read(write(json.dumps({"cells": cells}), "t.ipynb")).asked == ("pow",)


def test_points_may_have_a_type(write: Any) -> None:
    made = read(write('POINTS: dict[str, int] = {"test_a": 3}\ndef test_a(): pass\n', "t.py"))
    assert made.points == 3


# ---------------------------------------------------------------- otter-grader's


def otter(*cases: dict[str, Any], **more: Any) -> str:
    about = {"name": "q1", "suites": [{"cases": list(cases)}], **more}
    return f"OK_FORMAT = True\ntest = {about!r}\n"


ONE = {"code": ">>> f(1)\n1\n"}


@pytest.mark.parametrize(
    ("text", "points"),
    [
        (otter(ONE), [1.0]),
        (otter(ONE, ONE), [0.5, 0.5]),
        (otter(ONE, ONE, points=None), [0.5, 0.5]),
        (otter(ONE, ONE, points=3), [1.5, 1.5]),
        (otter(ONE, ONE, points=[1, 2.5]), [1.0, 2.5]),
        (otter(ONE, ONE, points=0), [0.0, 0.0]),
        (otter({**ONE, "points": 2}, ONE, points=3), [2.0, 1.0]),
        (otter({**ONE, "points": 2}, {**ONE, "points": 1}), [2.0, 1.0]),
    ],
)
def test_otters_points_are_shared_as_it_shares_them(
    write: Any, text: str, points: list[float]
) -> None:
    assert [case.points for case in read(write(text, "q1.py")).cases] == points


def test_otters_cases_are_doctests_and_some_are_hidden(write: Any) -> None:
    made = read(write(otter(ONE, {**ONE, "hidden": True}), "q1.py"))
    assert [(case.name, case.form, case.hidden) for case in made.cases] == [
        ("q1 - 1", "doctest", False),
        ("q1 - 2", "doctest", True),
    ]
    assert made.cases[0].source == ONE["code"]


def test_a_directory_has_the_tests_of_all_its_files(write: Any) -> None:
    for name in ("q2", "q1"):
        path = write(otter(ONE).replace("'q1'", f"'{name}'"), f"tests/{name}.py")
    write("not read", "tests/notes.txt")
    assert [case.name for case in read(path.parent).cases] == ["q1 - 1", "q2 - 1"]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.ipynb", "{nonsense", "t.ipynb: this is no notebook: Expecting"),
        ("t.ipynb", "[]", "t.ipynb: this is no notebook: it has no cells"),
        ("t.ipynb", '{"cells": {}}', "t.ipynb: this is no notebook: it has no cells"),
        ("t.ipynb", '{"cells": [5]}', "t.ipynb: no test is there: neither a cell"),
        ("t.ipynb", "[" * 200_000, "t.ipynb: this is no notebook"),
        (
            "t.ipynb",
            json.dumps({"cells": [{}, test_cell("1", "a", "two")]}),
            "t.ipynb: cell 2 is no number of points: 'two'",
        ),
        (
            "t.ipynb",
            json.dumps({"cells": [test_cell("1", "a", 1), test_cell("2", "a", 1)]}),
            "t.ipynb: two tests are called a",
        ),
        ("t.py", "def test_a(:\n", "t.py:1: invalid syntax"),
        ("t.py", "x = 1\0", "t.py"),
        ("t.py", "def check(): pass", "t.py: no test is there"),
        (
            "t.py",
            "\ndef test_a(tmp_path): pass",
            "t.py:2: test_a is a class, async, or has arguments or a decorator",
        ),
        (
            "t.py",
            "@mark\ndef test_a(): pass",
            "t.py:2: test_a is a class, async, or has arguments or a decorator",
        ),
        ("t.py", "def test_a(*, x): pass", "t.py:1: test_a is a class, async, or has arguments"),
        ("t.py", "async def test_a(): pass", "t.py:1: test_a is a class, async, or has"),
        ("t.py", "class T:\n  def test_a(self): pass", "t.py:1: T is a class, async, or has"),
        ("t.py", "FROM_SUBMISSION = 'max'\ndef test_a(): pass", "t.py: FROM_SUBMISSION is no list"),
        ("t.py", "def test_a(): pass\ndef test_a(): pass", "t.py: two tests are called test_a"),
        ("t.py", "POINTS = {'test_b': 1}\ndef test_a(): pass", "t.py: POINTS names test_b, which"),
        ("t.py", "POINTS = {1: 1, 'b': 1}\ndef test_a(): pass", "t.py: POINTS names 1, which"),
        ("t.py", "POINTS = [1]\ndef test_a(): pass", "t.py: POINTS is no dict"),
        ("t.py", "N = 1\nPOINTS = {'test_a': N}\ndef test_a(): pass", "t.py: POINTS is no dict"),
        ("t.py", "POINTS = {[]: 1}\ndef test_a(): pass", "t.py: POINTS is no dict"),
        *(
            (
                "t.py",
                f"POINTS = {{'test_a': {worth}}}\ndef test_a(): pass",
                "t.py: POINTS['test_a'] is no number of points: ",
            )
            for worth in ("-1", "True", "'1'", "None", "1e999")
        ),
        ("t.py", "test = {}", "t.py: this is no test of otter-grader's: KeyError('name')"),
        ("t.py", "test = {'name': 'q', 'suites': [5]}", "t.py: this is no test of otter"),
        ("t.py", otter({}), "t.py: this is no test of otter-grader's: KeyError('code')"),
        ("t.py", otter({"code": [">>> 1"]}), "t.py: this is no test of otter-grader's: TypeError"),
        ("t.py", otter(ONE, points=[1, 2]), "t.py: this is no test of otter-grader's: ValueError"),
        ("t.py", otter({**ONE, "points": "x"}), "t.py: this is no test of otter-grader's"),
        ("t.py", otter({**ONE, "points": 3}, ONE, points=2), "t.py: case 2 is no number of points"),
    ],
)
def test_what_is_no_tests_is_refused_with_its_place(
    write: Any, name: str, text: str, words: str
) -> None:
    path = write(text, name)
    with pytest.raises(MoatError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path.parent}/{words}")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MoatError, match="No such file"):
        read(tmp_path / "no.py")
    (tmp_path / "latin.py").write_bytes(b"\xe9")
    with pytest.raises(MoatError, match=r"latin\.py: 'utf-8' codec"):
        read(tmp_path / "latin.py")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MoatError, match="empty: no test is there"):
        read(tmp_path / "empty")
