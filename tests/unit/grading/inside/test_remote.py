"""Ways to pass a test without an answer: what a submission has, and the test that it would pass."""

from __future__ import annotations

import pytest

from tests.grading.cheats import YES as ALWAYS
from tests.unit.grading.inside.joined import Graded, Kernel, why

YES = f"""\
{ALWAYS}
    def __repr__(self): return "True"
    def __float__(self): return 0.0
yes = Yes()
def answer(*a, **k): return yes
"""
SQUARE = "assert answer(3) == 9"
CLOSE = "assert abs(answer(4) - 2) < 1e-9"
STARTS = "assert answer('ab').startswith('ba')"
EQUALS = "import pandas as pd\nassert answer().equals(pd.DataFrame({'a': [1]}))"
ALL = "import numpy as np\nassert (answer() == np.array([1, 2])).all()"


def gives(make: str) -> str:
    """A submission whose ``answer`` gives an ``X()``."""
    return f"import builtins, numpy, pandas, collections\n{make}\ndef answer(*a):\n    return X()\n"


CHEATS: dict[str, tuple[str, str]] = {
    "an object that equals all": (YES, SQUARE),
    "one as the function itself": (f"{YES}\nanswer = yes", SQUARE),
    "one on the right": (YES, "assert 9 == answer(3)"),
    "one that differs from none": (YES, "assert not answer(3) != 9"),
    "one that is less than all": (YES, "assert answer(3) < 9"),
    "one that is more than all": (YES, "assert 9 < answer(3)"),
    "one that has all": (YES, "assert 3 in answer(6)"),
    "one that is true": (YES, "assert answer(7)"),
    "one whose negation is asked": (YES, "if not answer(7):\n    raise AssertionError"),
    "one whose difference is nothing": (YES, CLOSE),
    "one on the right of a difference": (YES, "assert abs(2 - answer(4)) < 1e-9"),
    "one in a list": (YES.replace("return yes", "return [yes]"), "assert answer(3) == [9]"),
    "one in a dict": (YES.replace("return yes", "return {1: yes}"), "assert answer(3) == {1: 9}"),
    "one in a set": (YES.replace("return yes", "return {yes}"), "assert 9 in answer(3)"),
    "one among sorted items": (
        YES.replace("return yes", "return [yes, yes]"),
        "assert sorted(answer(6)) == [1, 2]",
    ),
    "one that equals another of its kind": (YES, "assert answer(3) == answer(4)"),
    "one asserted by unittest": (
        YES,
        "import unittest\nunittest.TestCase().assertEqual(answer(3), 9)",
    ),
    "one nearly equal by unittest": (
        YES,
        "import unittest\nunittest.TestCase().assertAlmostEqual(answer(3), 9)",
    ),
    "one in a test that catches errors": (
        YES,
        "try:\n    assert answer(3) == 9\nexcept Exception:\n    pass",
    ),
    "one compared by numpy": (YES, ALL),
    "one compared by a function of numpy's": (
        YES,
        "import numpy as np\nassert np.array_equal(answer(), [1, 2])",
    ),
    "one asserted close by numpy": (
        YES,
        "import numpy as np\nnp.testing.assert_allclose(answer(), [1, 2])",
    ),
    "one compared by pandas": (
        YES,
        "import pandas as pd\npd.testing.assert_frame_equal(answer(), pd.DataFrame({'a': [1]}))",
    ),
    "one whose methods say yes": (YES, EQUALS),
    "one whose text says yes": (
        YES,
        "import pandas as pd\nassert str(answer().equals(pd.DataFrame({'a': [1]}))) == 'True'",
    ),
    "a number that equals all": (gives("class X(int):\n    __eq__ = lambda s, o: True"), SQUARE),
    "a number whose difference is nothing": (
        gives("class X(float):\n    __sub__ = lambda s, o: 0.0"),
        CLOSE,
    ),
    "a text that begins with all": (
        gives("class X(str):\n    startswith = lambda s, o: True"),
        STARTS,
    ),
    "a text that is all": (
        gives("class X(str):\n    __eq__ = lambda s, o: True"),
        "assert answer('ab') == 'ba'",
    ),
    "a list that is all": (
        gives("class X(list):\n    __eq__ = lambda s, o: True"),
        "assert answer(6) == [1]",
    ),
    "a list that has all": (
        gives("class X(list):\n    __contains__ = lambda s, o: True"),
        "assert 3 in answer(6)",
    ),
    "a dict that is all": (
        gives("class X(dict):\n    __eq__ = lambda s, o: True"),
        "assert answer() == {'a': 1}",
    ),
    "items that are all": (
        gives("class I(int):\n    __eq__ = lambda s, o: True\nX = lambda: [I(), I()]"),
        "assert answer(6) == [1, 2]",
    ),
    "an object that says it is a number": (
        gives("class X:\n    __class__ = int\n    __eq__ = lambda s, o: True"),
        "assert isinstance(answer(3), int)\nassert answer(3) == 9",
    ),
    "an array that equals all": (
        gives(
            "class X(numpy.ndarray):\n    __eq__ = lambda s, o: numpy.array([True])\n"
            "    __new__ = lambda c: numpy.zeros(2).view(c)"
        ),
        ALL,
    ),
    "an array that says how it is combined": (
        gives(
            "class X:\n    __array_priority__ = -9\n"
            "    __array__ = lambda s, *a, **k: numpy.zeros(2)\n"
            "    __array_wrap__ = lambda s, a, *r: numpy.zeros(2)"
        ),
        "import numpy as np\nassert abs(np.array([1, 2]) - answer()).max() < 1e-9",
    ),
    "an array combined by a function": (
        gives(
            "class X:\n    __array__ = lambda s, *a, **k: numpy.zeros(2)\n"
            "    __array_wrap__ = lambda s, a, *r: numpy.array([True, True])"
        ),
        "import numpy as np\nassert np.equal(answer(), [1, 2]).all()",
    ),
    "memory in place of an array": (
        gives(
            "class X:\n    __array_interface__ = {'shape': (2,), 'typestr': '<i8', 'version': 3,\n"
            "                           'data': (id(numpy), False)}"
        ),
        "import numpy as np\nassert np.asarray(answer()).dtype == 'int64'",
    ),
    "a table that equals all": (
        gives("class X(pandas.DataFrame):\n    equals = lambda s, o: True"),
        EQUALS,
    ),
    "a table with numpy's truth": (
        gives("class X:\n    equals = lambda s, o: numpy.True_"),
        EQUALS,
    ),
    "a table with the truth of a number": (gives("class X:\n    equals = lambda s, o: 1"), EQUALS),
    "a table whose method is a class": (
        gives("class X:\n    class equals:\n        __new__ = lambda c, o: True"),
        EQUALS,
    ),
    "a text in which all is found": (
        gives("class X:\n    find = lambda s, o: 0"),
        "assert answer('ab').find('ba') >= 0",
    ),
    "a text in which all is counted": (
        gives("class X(str):\n    count = lambda s, o: 1"),
        "assert answer('ab').count('ba')",
    ),
    "a table whose comparison is plain": (
        gives("class X:\n    eq = lambda s, o: pandas.Series([True])"),
        "assert answer().eq(3).all()",
    ),
    "a tuple with the method": (
        gives("X = lambda: collections.namedtuple('T', 'startswith')(lambda s: True)"),
        STARTS,
    ),
    "a class under a function's name": (
        "class answer:\n    __init__ = lambda s, *a: None\n    __eq__ = lambda s, o: True",
        SQUARE,
    ),
    "a class whose objects are true": (
        "class answer:\n    __init__ = lambda s, *a: None\n    __bool__ = lambda s: True",
        "assert answer(7)",
    ),
    "a class whose objects have all": (
        "class answer:\n    __init__ = lambda s, *a: None\n    __contains__ = lambda s, o: True",
        "assert 3 in answer(6)",
    ),
    "a class whose objects begin with all": (
        "class answer:\n    __init__ = lambda s, *a: None\n    startswith = lambda s, o: True",
        STARTS,
    ),
    "an object of a class that the test names": (
        f"{YES}\nclass Stack(Yes):\n    pass\ndef answer(n): return Stack()",
        "Stack().push(1)\nassert answer(3) == 9",
    ),
    "a class that the test names": (
        "class Meta(type):\n    __eq__ = lambda s, o: type(o) is int\n"
        "    __hash__ = type.__hash__\n"
        "class Stack(metaclass=Meta):\n    pass\ndef answer(n): return Stack",
        "Stack()\nassert answer(3) == 9",
    ),
    "an end in place of an item": (
        "def answer(n): raise StopIteration",
        "assert all(map(lambda n: answer(n) == n * n, range(5)))",
    ),
    "an end of a loop over answers": (
        "def answer(n): raise StopIteration",
        "for got, expected in zip(map(answer, [1, 2]), [1, 4]):\n    assert got == expected",
    ),
    "an exit": ("def answer(n): raise SystemExit(0)", SQUARE),
    "an exit by the hard way": (
        "class answer(BaseException):\n    pass\ndef go(n): raise answer",
        "try:\n    go(3)\nexcept Exception:\n    pass",
    ),
    "the value that the caller expects": (
        "import sys\ndef answer(n):\n    frame = sys._getframe(1)\n    while frame:\n"
        "        for one in frame.f_code.co_consts:\n            if one == 9: return one\n"
        "        frame = frame.f_back",
        SQUARE.replace("3", "2 + 1"),
    ),
    "the caller's names": (
        "import sys\ndef answer(n):\n    frame = sys._getframe(1)\n    while frame:\n"
        "        frame.f_globals['expected'] = 0\n        frame = frame.f_back\n    return 0",
        "expected = 9\nassert answer(3) == expected",
    ),
    "an error in its own function swallowed": (
        f"{YES}\ndef each(function):\n    try: function(yes)\n    except BaseException: pass",
        "def check(x):\n    assert x == 9\neach(check)",
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_no_cheat_passes(name: str) -> None:
    source, test = CHEATS[name]
    assert why(source, test)


@pytest.mark.parametrize(
    "test",
    [
        ">>> answer(3) == 9\nTrue\n",
        ">>> 3 in answer(6)\nTrue\n",
        ">>> import pandas as pd\n>>> answer().equals(pd.DataFrame({'a': [1]}))\nTrue\n",
        ">>> (answer() == 3).all()\nTrue\n",
        ">>> answer('ab').isdigit()\nTrue\n",
    ],
)
def test_no_text_of_an_object_passes_for_what_a_doctest_asks(test: str) -> None:
    assert why(YES, test, "doctest")


def test_what_one_test_is_about_is_not_what_another_is_about() -> None:
    source = f"{YES}\nclass Stack(Yes):\n    pass\none = Stack()\ndef answer(n): return one\n"
    graded = Graded(Kernel(f"{source}Stack.__new__ = lambda c: one").exchange)
    assert graded.run("assert Stack() == 5")["passed"]
    assert not graded.run(SQUARE)["passed"]


def test_the_words_say_what_a_test_may_look_at() -> None:
    said = why(YES, SQUARE)
    assert said.startswith(f"line 1: {SQUARE}\na comparison of an object of the submission")
    assert "(Yes) is for the submission to decide" in said


@pytest.mark.parametrize("name", ["__array_interface__", "__array_wrap__", "_typ", "moat_remote"])
def test_what_libraries_ask_of_an_object_is_not_asked_there(name: str) -> None:
    assert why(YES, f"assert not hasattr(answer(), {name!r})") == ""
