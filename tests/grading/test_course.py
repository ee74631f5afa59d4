"""A class of forty, honest, broken and hostile: who gets what, and what is left."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.grading.conftest import Course

TESTS = """\
POINTS = {"test_square": 2}

def test_square():
    assert square(3) == 9
    assert [square(n) for n in range(4)] == [0, 1, 4, 9]

def test_shapes():
    stack = Stack()
    stack.push(1)
    assert len(stack) == 1
    assert stack.pop() == 1
"""

STACK = """\
class Stack:
    def __init__(self):
        self.items = []
    def push(self, item):
        self.items.append(item)
    def pop(self):
        return self.items.pop()
    def __len__(self):
        return len(self.items)
"""

HONEST = [
    "def square(n):\n    return n * n",
    "def square(n):\n    return n ** 2",
    "square = lambda n: sum(n for _ in range(n))",
    "import functools\n@functools.lru_cache\ndef square(n):\n    return n * n",
    "from operator import mul\ndef square(n):\n    return mul(n, n)",
]

LOOK = """\
import os
found = [os.path.join(top, name) for top, _, names in os.walk('/') for name in names
         if name in ('secret.txt', 'tests.py') or name == 'ps1.ipynb']
seen = [name for name in found if not name.startswith(('/proc/', '/usr/', '/opt/'))
        and 'site-packages' not in name]
"""

EATEN = {"out of memory", "timed out", "died"}
"""What becomes of who takes more memory than there is: a busy machine's clock may come first; and
where no cgroup holds a sandbox, each allocation that fails is one more chance for a program written
in C to fall over it, which ends by SIGSEGV or SIGABRT and looks like any other such end."""

HOSTILE: dict[str, tuple[str, set[str]]] = {
    "eats-memory": ("x = []\nwhile True:\n    x.append(bytes(1 << 20))", EATEN),
    "forks": (
        "import os, time\nfor _ in range(20000):\n    if os.fork() == 0:\n        time.sleep(99)",
        {"failed", *EATEN},
    ),
    "never-ends": ("while True:\n    pass", {"timed out"}),
    "ignores-interrupts": (
        "import time\nwhile True:\n    try:\n        time.sleep(9)\n    except KeyboardInterrupt:\n"
        "        pass",
        {"timed out"},
    ),
    "sleeps-in-c": ("import ctypes\nctypes.CDLL(None).sleep(500)", {"timed out", "failed"}),
    "kills-itself": ("import os\nos.kill(os.getpid(), 9)", {"died"}),
    "kills-all": ("import os\nos.kill(-1, 9)", {"died", "failed"}),
    "crashes": ("import ctypes\nctypes.string_at(0)", {"died"}),
    "exits": ("import os\nos._exit(0)", {"died"}),
    "prints": (
        "while True:\n    print('y' * 10000)",
        {"too much output", *EATEN},
    ),
    "displays": (
        "from IPython.display import display\nwhile True:\n    display('y' * 100000)",
        {"too much output", *EATEN},
    ),
    "one-long-line": ("print('y' * (80 << 20))", {"too much output", "failed", *EATEN}),
    "fills-disk": (
        "import os\nfor n in range(40):\n    open(f'/tmp/{n}', 'wb').write(bytes(64 << 20))",
        {"failed", *EATEN},
    ),
    "asks-network": (
        "import urllib.request\nurllib.request.urlopen('http://192.0.2.1', timeout=3)",
        {"refused network", "timed out"},
    ),
    "writes-outside": ("open('/etc/passwd', 'w')", {"wrote outside"}),
    "writes-above": ("open('/workspace/../escaped.txt', 'w')", {"wrote outside"}),
    "plants-moat-yaml": ("open('moat.yaml', 'w').write('name: mine')", {"wrote outside"}),
    "plants-hooks": ("import os\nos.makedirs('.git/hooks')", {"wrote outside"}),
    "links-out": ("import os\nos.symlink('/etc/passwd', 'answers.txt')", {"wrote outside"}),
    "digs-deep": (
        "import os\nfor _ in range(900):\n    os.mkdir('d')\n    os.chdir('d')",
        {"failed", "timed out"},
    ),
    "no-rights": ("import os\nos.mkdir('shut')\nos.chmod('shut', 0)", {"failed"}),
    "many-files": (
        "for n in range(3000):\n    open(f'f{n}', 'w').close()",
        {"failed", "timed out"},
    ),
    "raises": ("1 / 0", {"failed"}),
    "no-python": ("this is no Python", {"failed"}),
    "patches-agent": (
        "import sys, types\nfake = types.ModuleType('x')\nfake.answer = lambda t: None\n"
        "sys.modules['_moat_submission'] = fake",
        {"failed"},
    ),
    "looks-around": (f"{LOOK}\nassert not seen, seen", {"failed"}),
}

RAW = {"no-json": b"{nonsense", "empty": b"", "deep": b"[" * 100_000, "old": b'{"nbformat": 3}'}


def manifest(top: Path) -> dict[str, str]:
    return {
        str(path): f"{path.lstat().st_mode} "
        + (hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for path in sorted(top.rglob("*"))
    }


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "root",
    [
        False,
        pytest.param(
            True, marks=pytest.mark.skipif(os.getuid() != 0, reason="only root can be root")
        ),
    ],
)
def test_each_gets_its_verdict_and_nothing_of_another_is_touched(
    course: Course, root: bool
) -> None:
    (course.directory / "tests.py").write_text(TESTS)
    honest = {f"honest-{n}": [source, STACK] for n, source in enumerate(HONEST * 2)}
    hostile = {name: [source] for name, (source, _) in HOSTILE.items()}
    course.hand_in({**honest, **hostile, **RAW})
    before = manifest(course.directory)
    grades = course.grade("--cell-timeout", "12", "--test-timeout", "12", root=root)
    assert manifest(course.directory) == before
    assert set(grades) == {*honest, *hostile, *RAW}
    wrong = {
        name: (grade["verdict"], grade["points"], grade["detail"])
        for name, grade in grades.items()
        if (name in honest and (grade["verdict"], grade["points"]) != ("passed", 3))
        or (name in HOSTILE and (grade["verdict"] not in HOSTILE[name][1] or grade["points"]))
        or (
            name in RAW and (grade["verdict"], grade["points"], grade["of"]) != ("unreadable", 0, 3)
        )
    }
    assert wrong == {}
    (looked,) = (cell for cell in grades["looks-around"]["cells"])
    assert looked["outcome"] == "raised" and "/workspace/ps1.ipynb'" in looked["error"]
    assert "secret" not in looked["error"] and looked["error"].count("ps1.ipynb") == 1
    page = (course.directory.parent / "grades/report.html").read_text()
    assert "Content-Security-Policy" in page and "<script" not in page


HANGS = """\
import json
kernel = get_ipython().kernel
def square(n):
    items = [{"k": "fraction", "v": "1/3"}] * 200000
    text = "C" + json.dumps({"function": 0, "args": [items], "kwargs": {}})
    while True:
        try:
            kernel.raw_input(text)
        except BaseException:
            pass
"""


def test_none_holds_up_the_others(course: Course) -> None:
    """By calls of a function that it was not given, nor by directories that none walks down."""
    (course.directory / "tests.py").write_text(TESTS)
    late = ["import time\ntime.sleep(99)", HONEST[0], STACK]
    course.hand_in({"a-hangs": [HANGS], "b-honest": [HONEST[0], STACK], "c-deep": ["1"], "d": late})
    deep = course.directory / "handed-in/c-deep/d"
    for _ in range(150):
        deep.mkdir()
        deep = deep / "d"
    course.give(course.directory / "handed-in/c-deep")
    limits = ("--test-timeout", "4", "--cell-timeout", "4", "--timeout", "60", "--jobs", "1")
    grades = course.grade(*limits)
    assert {name: (grade["verdict"], grade["points"]) for name, grade in grades.items()} == {
        "a-hangs": ("timed out", 0),
        "b-honest": ("passed", 3),
        "c-deep": ("unreadable", 0),
        "d": ("timed out", 3),
    }


def test_an_interrupt_keeps_what_was_graded_and_resume_does_the_rest(course: Course) -> None:
    (course.directory / "tests.py").write_text(TESTS)
    quick = {f"a-{n}": [HONEST[0], STACK] for n in range(2)}
    course.hand_in({**quick, "z-slow": ["import time\ntime.sleep(30)", HONEST[0], STACK]})
    out = course.directory.parent / "grades"
    students = sorted(str(path) for path in (course.directory / "handed-in").iterdir())
    words = [*students, "--tests", str(course.directory / "tests.py"), "--out", str(out)]
    words += ["--project", str(course.directory), "--runtime", course.runtime, "--jobs", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "moat_nb", "grade", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        kept = out / "submissions"
        give_up = time.monotonic() + 300
        while len(list(kept.glob("[!.]*.json"))) < 2 and time.monotonic() < give_up:
            time.sleep(0.1)
        started.send_signal(signal.SIGINT)
        stdout, stderr = started.communicate(timeout=120)
    assert started.returncode == 130, stderr
    assert "2 submissions: 2 passed" in stdout
    assert "interrupted: 1 not graded; the rest with --resume" in stderr
    assert json.loads((out / "results.json").read_text())["complete"] is False
    times = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    grades = course.grade("--resume", root=os.getuid() == 0)
    assert {name: grade["points"] for name, grade in grades.items()} == dict.fromkeys(grades, 3)
    assert times.items() <= {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}.items()
