"""What tests make of an honest submission, and how they end."""

from __future__ import annotations

import pytest

from tests.unit.grading.inside.joined import Graded, Kernel, result, why

HONEST = """\
import collections, contextlib, dataclasses, numpy, pandas

def square(n):
    "The square of n."
    return n * n
def double_all(items):
    for at, item in enumerate(items):
        items[at] = item * 2
def fill(table):
    table["a"] = 1
def add(some, *, to):
    to.append(some)
def twice(function, x):
    return function(function(x))
def keep(function, items):
    return [item for item in items if function(item)]
def call(function, *args, **kwargs):
    return function(*args, **kwargs)
def dict_of(**named):
    return named
def safely(function):
    try:
        return function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
def greet(name):
    print(f"Hello, {name}!")
def count_down(n):
    while n:
        yield n
        n -= 1
def running():
    total = 0
    while True:
        total += yield total
def array():
    return numpy.arange(3)
def frame():
    return pandas.DataFrame({"a": [1, 2]})
def exits():
    raise SystemExit(0)
def interrupts():
    raise KeyboardInterrupt
def same(thing):
    return thing
half = 0.5
Pair = collections.namedtuple("Pair", "a b")

class Empty(Exception):
    pass
class Sad(LookupError):
    pass
def fail(kind, *args):
    raise {"own": Empty, "sad": Sad, "key": KeyError, "value": ValueError}[kind](*args)

@dataclasses.dataclass
class Vector:
    x: int
    y: int = 0
    def __add__(self, other): return Vector(self.x + other.x, self.y + other.y)
    def __neg__(self): return Vector(-self.x, -self.y)
    def __abs__(self): return (self.x ** 2 + self.y ** 2) ** 0.5
    def __mul__(self, k): return Vector(self.x * k, self.y * k)
    __rmul__ = __mul__
    def __lt__(self, other): return abs(self) < abs(other)
    def __iter__(self): return iter((self.x, self.y))
    def __getitem__(self, at): return (self.x, self.y)[at]
    def __bool__(self): return bool(self.x or self.y)
    def __str__(self): return f"<{self.x}, {self.y}>"
    @classmethod
    def of(cls, pair): return cls(*pair)
    def is_zero(self): return not self

class Stack:
    def __init__(self): self.items = []
    def push(self, item):
        self.items.append(item)
        return self
    def pop(self):
        if not self.items:
            raise Empty("nothing is there")
        return self.items.pop()
    def __len__(self): return len(self.items)
    def __contains__(self, item): return item in self.items
    def __enter__(self): return self
    def __exit__(self, *how): self.items.clear()
    def __setitem__(self, at, item): self.items[at] = item
    def __delitem__(self, at): del self.items[at]
class Deep(Stack):
    pass
"""

PASS = {
    "a value": "assert square(3) == 9\nassert half == 0.5",
    "a large value": "assert square(10 ** 5000) == 10 ** 10000",
    "a docstring": "assert square.__doc__ == 'The square of n.'\nassert not same.__doc__",
    "a name": "assert square.__name__ == 'square'",
    "a list changed in place": "b = a = [1, 2]\ndouble_all(a)\nassert b == [2, 4]\nassert a is b",
    "a dict changed in place": "a = {'b': 2}\nfill(a)\nassert a == {'b': 2, 'a': 1}",
    "an array changed in place": (
        "import numpy as np\na = np.arange(3)\ndouble_all(a)\nassert (a == [0, 2, 4]).all()"
    ),
    "a table changed in place": (
        "import pandas as pd\na = pd.DataFrame({'b': [2]})\nfill(a)\nassert list(a) == ['b', 'a']"
    ),
    "a list given by name": "a = []\nadd(3, to=a)\nassert a == [3]",
    "a set changed in place": "a = {1}\ncall(a.add, 2)\nassert a == {1, 2}",
    "a function of the test's": "assert twice(lambda x: x + 1, 5) == 7",
    "a function with more": "assert keep(str.isdigit, ['a', '1']) == ['1']",
    "keywords of any name": (
        "got = call(lambda **k: k, do=2, name=3)\nassert got == {'do': 2, 'name': 3}\n"
        "assert dict_of(self=1, function=2) == {'self': 1, 'function': 2}"
    ),
    "a function of the submission's": "assert twice(square, 3) == 81",
    "a function within a function": "assert twice(lambda x: twice(square, x), 2) == 2 ** 16",
    "an error in a function of the test's": (
        "def bad():\n    raise ValueError('no')\nassert safely(bad) == 'ValueError: no'\n"
        "try:\n    call(bad)\nexcept ValueError as error:\n    assert str(error) == 'no'\n"
        "else:\n    assert False"
    ),
    "a list that a function fills": "got = []\ncall(got.append, 3)\nassert got == [3]",
    "what it prints": (
        "import contextlib, io\nout = io.StringIO()\n"
        "with contextlib.redirect_stdout(out):\n    greet('Ada')\n"
        "assert out.getvalue() == 'Hello, Ada!\\n'"
    ),
    "an error of Python's": (
        "try:\n    square('x')\nexcept TypeError as error:\n    assert 'multiply' in str(error)\n"
        "else:\n    assert False"
    ),
    "a missing key": (
        "try:\n    fail('key', 'x')\nexcept KeyError as error:\n    assert str(error) == \"'x'\"\n"
        "    assert error.args == ('x',)\nelse:\n    assert False"
    ),
    "an error of its own": (
        "try:\n    Stack().pop()\nexcept Empty as error:\n    assert 'nothing' in str(error)\n"
        "else:\n    assert False"
    ),
    "an error of its own by a base": (
        "try:\n    fail('sad', 1)\nexcept LookupError as e:\n    assert isinstance(e, Sad)\n"
        "else:\n    assert False\nassert issubclass(Sad, LookupError)"
    ),
    "an error asserted by unittest": (
        "import unittest\ncase = unittest.TestCase()\nwith case.assertRaises(ValueError):\n"
        "    fail('value', 1)\nwith case.assertRaises(Empty):\n    fail('own')"
    ),
    "a generator": "g = count_down(2)\nassert next(g) == 2\nassert list(g) == [1]",
    "the end of a generator": (
        "g = count_down(0)\ntry:\n    next(g)\nexcept StopIteration:\n    pass\nelse:\n    assert 0"
    ),
    "what a generator is sent": "g = running()\nnext(g)\nassert g.send(3) == 3",
    "a comprehension over one": "assert [n for n in count_down(3)] == [3, 2, 1]",
    "an array": "import numpy as np\nnp.testing.assert_array_equal(array(), np.arange(3))",
    "a table": "import pandas as pd\nassert frame().equals(pd.DataFrame({'a': [1, 2]}))",
    "a named tuple": "assert Pair(1, 2) == (1, 2)\nassert same(Pair(1, b=2)).b == 2",
    "an object": "v = Vector(3, 4)\nassert (v.x, v.y) == (3, 4)\nassert abs(v) == 5.0",
    "its operators": (
        "v = Vector(3, 4)\nassert v + v == Vector(6, 8)\nassert -v == Vector(-3, -4)\n"
        "assert v * 2 == 2 * v == Vector(6, 8)\nassert v != Vector(0)\nassert Vector(0) < v"
    ),
    "its order": "a = [Vector(2), Vector(1)]\nassert [v.x for v in sorted(a)] == [1, 2]",
    "its truth": "assert Vector(1)\nassert not Vector(0)\nassert Vector(0).is_zero()",
    "its text": "assert str(Vector(1)) == f'{Vector(1)}' == '<1, 0>'",
    "its parts": "x, y = Vector(1, 2)\nassert (x, y) == (1, 2)\nassert Vector(1, 2)[-1] == 2",
    "its class method": "assert Vector.of((1, 2)) == Vector(1, 2)",
    "its attributes set": "v = Vector(1)\nv.x = 5\nassert v == Vector(5)\ndel v.x",
    "its class": (
        "assert isinstance(Deep(), Stack)\nassert not isinstance(Stack(), Deep)\n"
        "assert issubclass(Deep, Stack)\nassert not isinstance(3, Stack)\n"
        "assert isinstance(Deep(), (int, Stack))\nassert not isinstance(Stack(), (int, dict))"
    ),
    "a container": (
        "s = Stack()\nassert len(s) == 0\nassert s.push(1) is s\nassert 1 in s\nassert 2 not in s\n"
        "s[0] = 7\nassert s.items == [7]\ndel s[0]\nassert len(s) == 0"
    ),
    "a context manager": (
        "with Stack() as s:\n    s.push(1)\n    assert len(s) == 1\nassert len(s) == 0"
    ),
    "an object that comes back": "s = Stack()\nassert same(s) is s\nassert same([s])[0] is s",
    "a method as a function": "s = Stack()\nlist(map(s.push, [1, 2]))\nassert len(s) == 2",
    "a name of the test's own": "def square(n):\n    return 'mine'\nassert square(3) == 'mine'",
}


@pytest.mark.parametrize("name", PASS)
def test_an_honest_answer_passes(name: str) -> None:
    assert why(HONEST, PASS[name]) == ""


FAIL = {
    "assert square(3) == 10": "line 1: assert square(3) == 10\nAssertionError",
    "a = 1\nassert a == 2, 'so'": "line 2: assert a == 2, 'so'\nAssertionError: so",
    "nothing_there(3)": "NameError: the submission has no nothing_there",
    "square('x')": "TypeError: can't multiply",
    "square(": "SyntaxError",
    "exits()": "the submission raised SystemExit: 0",
    "try:\n    exits()\nexcept Exception:\n    pass": "the submission raised SystemExit: 0",
    "try:\n    exits()\nexcept SystemExit:\n    pass": "the submission raised SystemExit: 0",
    "interrupts()": "the submission raised KeyboardInterrupt",
    "raise SystemExit": "SystemExit",
    "exit()": "",
    "fail('own', 'x')": "Empty: x",
    "numpy.zeros(3)": "numpy is a module that the submission has imported; import it in the test",
    "square(object())": "a object of the test's cannot be given to the submission",
    "call(lambda: object())": "a object of the test's cannot be given",
    "class More(Stack):\n    pass": "a test cannot derive a class from one of the submission's",
    "assert list(count_down(3)) == [1]": "AssertionError",
    "call(lambda: exits())": "the submission raised SystemExit: 0",
    "safely(lambda: exits())": "the submission raised SystemExit: 0",
}


@pytest.mark.parametrize("test", FAIL)
def test_a_test_that_fails_says_what_and_where(test: str) -> None:
    said = why(HONEST, test)
    assert said and FAIL[test] in said


SHADOWS = """\
def square(n):
    return 0
def yes(*args, **kwargs):
    return True
len = sorted = abs = isinstance = print = all = any = sum = str = type = yes
AssertionError = Exception = __import__ = __builtins__ = __name__ = yes
"""


@pytest.mark.parametrize(
    "test",
    [
        "assert abs(square(3) - 9) == 1",
        "assert len([square(3)]) == 0",
        "assert isinstance(square(3), str)",
        "assert sorted([square(3), -1]) == [9]",
        "assert all([square(3) == 9])",
        "assert square(3) == 9",
        "assert __name__ == True",
        "import math\nassert math.isclose(square(3), 9)",
    ],
)
def test_names_that_a_submission_defines_hide_none_of_pythons(test: str) -> None:
    assert "AssertionError" in why(SHADOWS, test)


def test_what_stands_beside_the_tests_comes_before_the_submissions() -> None:
    graded = Graded(
        Kernel("def expected(n):\n    return 0\ndef square(n):\n    return 0").exchange,
        "import no_such_module\n",
        "this is no Python",
        "print('not shown')\ndef expected(n):\n    return n * n\n",
    )
    assert "AssertionError" in graded.run("assert square(3) == expected(3)")["why"]
    assert graded.run("assert expected(3) == 9") == {
        "passed": True,
        "why": "",
        "value": None,
        "printed": "",
    }


def test_a_later_test_sees_the_names_of_an_earlier_and_runs_after_its_failure() -> None:
    graded = Graded(Kernel(HONEST).exchange)
    assert not graded.run("kept = 3\nassert False")["passed"]
    assert graded.run("assert square(kept) == 9")["passed"]


def test_what_was_printed_is_told() -> None:
    found = result(HONEST, "greet('Ada')\nprint('mine')")
    assert found == {"passed": True, "why": "", "value": None, "printed": "Hello, Ada!\nmine\n"}


def test_what_is_told_is_bounded() -> None:
    found = result(HONEST, "print('y' * 30_000)\nraise ValueError('x' * 9000)")
    assert (len(found["printed"]), len(found["why"])) == (20_000, 4000)


@pytest.mark.parametrize(
    ("test", "passes"),
    [
        (">>> square(3)\n9\n", True),
        (">>> square(3)\n10\n", False),
        (">>> a = square(2)\n>>> a + 1\n5\n>>> greet('Ada')\nHello, Ada!\n", True),
        (">>> array()\narray([0,  1, 2])\n", True),
        (">>> frame()\n   a\n0  1\n1  2\n", True),
        (">>> Vector(1, 2)\nVector(x=1, y=2)\n", True),
        (
            ">>> square('x')\nTraceback (most recent call last):\n    ...\n"
            "TypeError: can't multiply sequence by non-int of type 'str'\n",
            True,
        ),
        (
            ">>> fail('own', 'x')\nTraceback (most recent call last):\n    ...\nEmpty: x\n",
            True,
        ),
        (">>> square('x')\n", False),
        (">>> exits()\n", False),
        (">>> Stack() == 3\nTrue\n", False),
        (">>> for n in count_down(2):\n...     print(n)\n2\n1\n", True),
    ],
)
def test_a_doctest_passes_where_all_its_lines_come_out(test: str, passes: bool) -> None:
    found = result(HONEST, test, "doctest")
    assert found["passed"] is passes, found


def test_a_doctest_that_fails_shows_what_was_expected_and_what_came() -> None:
    said = why(HONEST, ">>> square(3)\n10\n", "doctest")
    assert "Expected:\n    10\nGot:\n    9" in said


def test_what_tests_stand_on_is_never_the_submissions_own() -> None:
    kernel = Kernel("close = lambda *a: True\nTOL = 1e9\ndef f(): raise ValueError")
    graded = Graded(kernel.exchange)
    graded.prepare(["f()", "x = 1 / 0"], bound=["close", "TOL"])
    assert graded.said["why"] == "line 1: x = 1 / 0\nZeroDivisionError: division by zero"
    for test in ("assert close(1, 2)", "assert TOL"):
        assert "is not there: what makes it, in the tests, has not run" in graded.run(test)["why"]


def test_a_name_of_pythons_own_may_be_the_submissions() -> None:
    graded = Graded(Kernel("def max(items): return -1").exchange)
    graded.prepare([], asked=["max"])
    assert not graded.run("assert max([1, 2]) == 2")["passed"]
    assert graded.run("assert min([1, 2]) == 1")["passed"]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("square(2) / 8", 0.5),
        ("points = 1\npoints + 1", 2.0),
        ("import numpy\nnumpy.float32(1.5)", 1.5),
        ("1;", None),
        ("points = 1", None),
        ("None", None),
        ("True", None),
        ("'1'", None),
        ("square", None),
        ("pass", None),
        ("# nothing", None),
    ],
)
def test_a_cell_may_end_in_a_number(cell: str, value: float | None) -> None:
    assert result(HONEST, cell, "cell") == {
        **{"passed": True, "why": "", "printed": ""},
        "value": value,
    }


def test_no_object_of_a_submissions_is_a_number_of_points() -> None:
    source = "class Points(float): pass\npoints = Points(2)"
    assert result(source, "points", "cell")["value"] is None
    assert result(source, "points + 1", "cell")["value"] is None


def test_a_cell_says_which_line_failed() -> None:
    assert why(HONEST, "x = 1\n1 / 0", "cell").startswith("line 2: 1 / 0")
    assert why(HONEST, "x = 1\n1 / 0\nx = 2", "cell").startswith("line 2: 1 / 0")
    assert "SyntaxError" in why(HONEST, "x = = 1", "cell")


USES = """\
def squares(n):
    return [k * k for k in range(1, n + 1)]
def total(n):
    return sum(squares(n))
"""

USED = {
    "taken away": """\
kept = squares
del squares
try:
    total(1)
except NameError:
    pass
else:
    raise AssertionError("it does not use squares")
finally:
    squares = kept
""",
    "replaced": """\
kept = squares
calls = []
def squares(n):
    calls.append(n)
    return [1, 1]
try:
    assert total(5) == 2 and calls == [5]
finally:
    squares = kept
""",
    "replaced by a lambda": """\
kept, squares = squares, lambda n: [7]
assert total(5) == 7
squares = kept
""",
}


@pytest.mark.parametrize("test", USED.values(), ids=USED)
def test_a_test_sees_whether_a_function_of_the_submissions_is_used(test: str) -> None:
    for source, passes in (
        (USES, True),
        (USES.replace("sum(squares(n))", "sum(k * k for k in range(n + 1))"), False),
    ):
        graded = Graded(Kernel(source).exchange)
        graded.prepare([], solved=["squares", "total"])
        assert graded.run(test, "cell")["passed"] is passes, graded.said
        if passes:
            assert graded.run("assert squares(2) == [1, 4] and total(2) == 5")["passed"]


def test_no_plain_value_of_a_test_goes_to_the_submission() -> None:
    graded = Graded(Kernel("def total(n):\n    return expected").exchange)
    graded.prepare([], solved=["total", "expected"])
    found = graded.run("expected = 5\nassert total(2) == expected")
    assert not found["passed"] and "NameError" in found["why"]
    assert graded.run("expected = 5\ndel expected")["passed"]
    for name in ("expected", "other"):
        assert "NameError" in graded.run(f"del {name}")["why"]


def test_what_a_test_bound_is_no_answer_to_the_next() -> None:
    graded = Graded(Kernel("mean = -1").exchange)
    graded.prepare([], solved=["mean"])
    assert graded.run("mean = 9\nassert mean == 9")["passed"]
    assert not graded.run("assert mean == 9")["passed"]
    assert graded.run("assert mean == -1")["passed"]


def test_a_name_with_a_capital_is_a_class_where_the_solution_has_one() -> None:
    source = "class X:\n    def __eq__(self, other):\n        return True"
    for classes, passes in ((None, True), (["X"], True), ([], False)):
        graded = Graded(Kernel(source).exchange)
        graded.prepare([], classes=classes)
        assert graded.run("assert X() == 3")["passed"] is passes


def test_a_function_of_an_earlier_test_can_still_be_called() -> None:
    graded = Graded(Kernel("def f(): return g()\ndef g(): return 1").exchange)
    graded.prepare([], solved=["f", "g"])
    assert graded.run("def g(): return 2\nassert f() == 2")["passed"]
    assert graded.run("assert f() == 2")["passed"]


@pytest.mark.parametrize("kind", ["[3, 1, 2]", "numpy.array([3, 1, 2])"])
def test_what_a_submission_does_to_its_own_values_is_done(kind: str) -> None:
    source = f"import numpy\nxs = {kind}\ndef sort_it(items):\n    items.sort()"
    test = "sort_it(xs)\nassert list(xs) == [1, 2, 3]"
    assert why(source, test) == ""
    assert "AssertionError" in why(source.replace("items.sort()", "pass"), test)


def test_a_value_that_the_test_has_changed_is_its_own() -> None:
    source = "xs = [3, 1]\ndef sort_it(items):\n    items.sort()\n    return items"
    assert why(source, "ys = xs\nys.append(0)\nassert sort_it(ys) == [0, 1, 3]") == ""
    assert why(source, "ys = xs\nys.append(0)\nsort_it(ys)\nassert xs == [3, 1]") == ""
