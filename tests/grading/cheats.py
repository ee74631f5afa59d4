"""Ways to earn points without an answer: what a submission runs, and the test that it would pass.

Each passes where its cells and the test run in one kernel, as most graders have it: that is its
control.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CHEATS", "HONEST", "TESTS", "Cheat"]

TESTS = """\
def test_square():
    assert square(3) == 9
    assert square(-4) == 16

def test_root():
    assert abs(root(4) - 2) < 1e-9

def test_close():
    import math
    assert math.isclose(root(9), 3)

def test_divisors():
    assert 3 in divisors(6)
    assert sorted(divisors(6)) == [1, 2, 3, 6]

def test_word():
    assert word("ab").startswith("ba")
    assert word("ab") == "ba"

def test_prime():
    assert is_prime(7)
    assert not is_prime(8)

def test_refuses():
    try:
        square("x")
    except TypeError:
        return
    raise AssertionError("no TypeError")

def test_mean():
    import statistics
    assert statistics.mean(numbers()) == 5

def test_text():
    import json
    assert json.loads(text()) == {"a": [1]}

def test_unit():
    import unittest
    case = unittest.TestCase()
    case.assertEqual(square(5), 25)

def test_array():
    import numpy as np
    assert (array() == np.array([1, 2])).all()
    np.testing.assert_allclose(array(), [1, 2])

def test_frame():
    import pandas as pd
    assert frame().equals(pd.DataFrame({"a": [1]}))
"""

HONEST = """\
def square(n):
    return n ** 2
def root(n):
    return n ** 0.5
def divisors(n):
    return [d for d in range(1, n + 1) if n % d == 0]
def word(w):
    return w[::-1]
def is_prime(n):
    return n > 1 and all(n % d for d in range(2, n))
def numbers():
    return [4, 5, 6]
def text():
    return '{"a": [1]}'
def array():
    import numpy
    return numpy.array([1, 2])
def frame():
    import pandas
    return pandas.DataFrame({"a": [1]})
"""

YES = """\
class Yes:
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __gt__ = __le__ = __ge__ = __lt__
    def __bool__(self): return True
    def __contains__(self, item): return True
    def __sub__(self, other): return self
    __rsub__ = __add__ = __mul__ = __abs__ = __getitem__ = __sub__
    def __hash__(self): return 1
"""


@dataclass(frozen=True, kw_only=True)
class Cheat:
    test: str
    source: str


def _cheat(test: str, source: str) -> Cheat:
    return Cheat(test=test, source=source)


def _returns(test: str, function: str, make: str) -> Cheat:
    return Cheat(test=test, source=f"{make}\ndef {function}(*a):\n    return X()\n")


CHEATS: dict[str, Cheat] = {
    "an object that equals all": _cheat("test_square", YES + "square = Yes()"),
    "a number that equals all": _returns(
        "test_square", "square", "class X(int):\n    __eq__ = lambda s, o: True"
    ),
    "an object that says it is a number": _returns(
        "test_square",
        "square",
        "class X:\n    __class__ = property(lambda s: int)\n    __eq__ = lambda s, o: True",
    ),
    "a number whose difference is nothing": _returns(
        "test_root", "root", "class X(float):\n    __sub__ = lambda s, o: 0.0"
    ),
    "an object whose difference is nothing": _cheat(
        "test_root", f"{YES}\nroot = Yes()\nYes.__abs__ = lambda s: 0.0"
    ),
    "a list that equals all": _returns(
        "test_divisors",
        "divisors",
        "class X(list):\n    __contains__ = lambda s, o: True\n"
        "import builtins\nbuiltins.sorted = lambda x: E()\n"
        "class E(list):\n    __eq__ = lambda s, o: True",
    ),
    "a text that begins with all": _returns(
        "test_word",
        "word",
        "class X(str):\n    startswith = lambda s, o: True\n    __eq__ = lambda s, o: True",
    ),
    "truth that changes": _returns(
        "test_prime",
        "is_prime",
        "class X:\n    n = 0\n    def __bool__(self):\n        X.n += 1\n        return X.n == 1",
    ),
    "abs() replaced": _cheat(
        "test_root", "import builtins\nbuiltins.abs = lambda x: 0\nroot = lambda n: 0.0"
    ),
    "sorted() replaced": _cheat(
        "test_divisors",
        "import builtins\nclass E(list):\n    __eq__ = lambda s, o: True\n"
        "builtins.sorted = lambda x: E()\ndivisors = lambda n: [3]",
    ),
    "abs() shadowed by a name": _cheat("test_root", "abs = lambda x: 0\nroot = lambda n: 0.0"),
    "isclose() replaced": _cheat(
        "test_close", "import math\nmath.isclose = lambda *a, **k: True\nroot = lambda n: 0"
    ),
    "a module in place of another": _cheat(
        "test_close",
        "import sys, types\nfake = types.ModuleType('math')\nfake.isclose = lambda *a: True\n"
        "sys.modules['math'] = fake\nroot = lambda n: 0",
    ),
    "__import__() replaced": _cheat(
        "test_close",
        "import builtins, types\nfake = types.ModuleType('math')\nfake.isclose = lambda *a: True\n"
        "real = builtins.__import__\n"
        "builtins.__import__ = lambda n, *a: fake if n == 'math' else real(n, *a)\n"
        "root = lambda n: 0",
    ),
    "a module planted where it runs": _cheat(
        "test_mean",
        "import sys\nopen('statistics.py', 'w').write('mean = lambda numbers: 5')\n"
        "sys.path.insert(0, '.')\nsys.modules.pop('statistics', None)\nnumbers = lambda: [0]",
    ),
    "json.loads() replaced": _cheat(
        "test_text", "import json\njson.loads = lambda t: {'a': [1]}\ntext = lambda: ''"
    ),
    "unittest replaced": _cheat(
        "test_unit",
        "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\nsquare = lambda n: 0",
    ),
    "assertions taken out of what runs": _cheat(
        "test_square",
        "import ast\n"
        "class Out(ast.NodeTransformer):\n"
        "    def visit_Assert(self, node): return ast.Pass()\n"
        "class Tree:\n"
        "    def visit(self, tree): return ast.fix_missing_locations(Out().visit(tree))\n"
        "get_ipython().ast_transformers.append(Tree())\nsquare = lambda n: 0",
    ),
    "each later cell emptied": _cheat(
        "test_square", "get_ipython().input_transformers_cleanup.append(lambda lines: [])"
    ),
    "IPython's exec replaced": _cheat(
        "test_square",
        "async def nothing(*a, **k): return False\nget_ipython().run_code = nothing",
    ),
    "compile() of later cells replaced": _cheat(
        "test_square",
        "shell = get_ipython()\nreal = shell.compile.ast_parse\n"
        "shell.compile.ast_parse = lambda source, *a, **k: real('pass', *a, **k)",
    ),
    "the expected value read from the test": _cheat(
        "test_square",
        "import re\ndef square(n):\n"
        "    said = re.findall(r'square\\((-?\\d+)\\) == (\\d+)', In[-1])\n"
        "    return {int(a): int(b) for a, b in said}[n]",
    ),
    "the expected value read from the caller": _cheat(
        "test_square",
        "import sys\ndef square(n):\n"
        "    return max(c for c in sys._getframe(1).f_code.co_consts if type(c) is int)",
    ),
    "the caller's names changed": _cheat(
        "test_divisors",
        "import sys\nclass E(list):\n    __eq__ = lambda s, o: True\ndef divisors(n):\n"
        "    sys._getframe(1).f_globals['sorted'] = lambda x: E()\n    return [3]",
    ),
    "mean() replaced": _cheat(
        "test_mean",
        "import statistics\nclass Five:\n    __eq__ = lambda s, o: True\n"
        "statistics.mean = lambda n: Five()\nnumbers = lambda: []",
    ),
    "the comparison of lists by an item": _cheat(
        "test_divisors",
        "class I(int):\n    __eq__ = lambda s, o: True\n    __lt__ = lambda s, o: False\n"
        "    __hash__ = int.__hash__\ndivisors = lambda n: [I(), I(), I(), I()]",
    ),
    "an array that equals all": _returns(
        "test_array",
        "array",
        "import numpy as np\nnp.testing.assert_allclose = lambda *a, **k: None\n"
        "class X(np.ndarray):\n    def __new__(cls): return np.zeros(2).view(cls)\n"
        "    __eq__ = lambda s, o: np.array([True, True])",
    ),
    "a table that equals all": _returns(
        "test_frame",
        "frame",
        "import pandas as pd\nclass X(pd.DataFrame):\n    equals = lambda s, o: True",
    ),
    "an object whose every method says yes": _cheat("test_frame", YES + "frame = Yes()"),
}
