"""The tests' program as it runs in its sandbox, here without one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from moat_nb.errors import MoatError
from moat_nb.grading import tests_process
from moat_nb.grading.tests_process import TestsProcess, TookTooLong
from moat_nb.sandbox.process import Exit

SECONDS = 60.0


class Spawned:
    """A process of this machine, as a sandbox has one."""

    def __init__(self, argv: list[str], on_output: Callable[[int, bytes], None]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.exited: Future[Exit] = Future()
        threading.Thread(target=self._read, args=(on_output,), daemon=True).start()

    def _read(self, on_output: Callable[[int, bytes], None]) -> None:
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), 1000):
            on_output(2, b"noise\n")
            on_output(1, data)
        self.exited.set_result(Exit(code=self._process.wait()))

    def poll(self) -> Exit | None:
        return self.exited.result() if self.exited.done() else None

    def write(self, data: bytes) -> None:
        assert self._process.stdin is not None and len(data) <= 1 << 16
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def signal(self, signum: int) -> None:
        self._process.send_signal(signum)

    def kill(self) -> None:
        self._process.kill()
        self.exited.result()

    def close(self) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()


class Box:
    def __init__(self) -> None:
        self.made: list[Spawned] = []

    def spawn(self, argv: list[str], *, stdin: bool, on_output: Any) -> Any:
        assert stdin
        self.made.append(Spawned(argv, on_output))
        return self.made[-1]


@pytest.fixture
def box() -> Iterator[Box]:
    made = Box()
    yield made
    for process in made.made:
        process.close()


def nobody(text: str) -> str:
    raise AssertionError(text)


def run(tests: TestsProcess, source: str, ask: Any = nobody, seconds: float = SECONDS) -> Any:
    """What the test comes to."""
    results: list[Any] = []

    def hear(text: str) -> str:
        if text[:1] != "R":
            return str(ask(text))
        results.append(json.loads(text[1:]))
        return ""

    tests.do("run", "q", source, "cell", ask=hear, seconds=seconds)
    return results[0]


def test_tests_run_one_after_another_and_may_print(box: Box) -> None:
    tests = TestsProcess(box.spawn)
    tests.do("name", [], [], [], None, ask=nobody, seconds=SECONDS)
    noise = "import os, subprocess, sys\nprint('mine')\nos.write(1, b'0 .\\n.\\n')\n"
    noise += "subprocess.run([sys.executable, '-c', 'print(1)'])\n"
    assert run(tests, f"{noise}x = 3\nx") == {
        **{"passed": True, "why": "", "value": 3.0, "printed": "mine\n"}
    }
    assert run(tests, "assert x == 4")["why"] == "line 1: assert x == 4\nAssertionError"
    assert run(tests, "import sys; sys.stdin.read(); x")["value"] == 3.0


@pytest.mark.parametrize("size", [1, 1 << 18])
def test_a_question_is_answered(box: Box, size: int) -> None:
    value = "\u00e4" * size

    def ask(text: str) -> str:
        asked = json.loads(text[1:])
        assert text[0] == "Q" and asked["do"] == "global"
        return "D" + json.dumps({"value": value, "printed": ""})

    assert run(TestsProcess(box.spawn), f"assert len(word) == {size}", ask)["passed"]


@pytest.mark.parametrize("words", ["Eno\nanswer", "E\u00e4 \ud800", "Eno\r0 x"])
def test_why_there_is_no_answer_is_one_line(box: Box, words: str) -> None:
    tests = TestsProcess(box.spawn)
    assert not run(tests, "word", lambda text: words)["passed"]
    assert run(tests, "1")["passed"]


def test_one_that_takes_too_long_is_interrupted(box: Box) -> None:
    tests = TestsProcess(box.spawn)
    assert run(tests, "1")["passed"]
    with pytest.raises(TookTooLong, match="longer than"):
        run(tests, "while True: pass", seconds=0.5)
    assert run(tests, "2")["value"] == 2.0


def test_an_interrupt_at_its_end_is_none_of_the_next(box: Box) -> None:
    tests = TestsProcess(box.spawn)
    assert run(tests, "1")["passed"]
    for number in range(30):
        with contextlib.suppress(TookTooLong, IndexError):
            run(tests, "import time; time.sleep(0.01)", seconds=0.01)
        box.made[0].signal(signal.SIGINT)
        assert run(tests, f"{number}")["value"] == number


def test_a_test_may_ask_from_its_threads(box: Box) -> None:
    test = (
        "import concurrent.futures\n"
        "with concurrent.futures.ThreadPoolExecutor(8) as threads:\n"
        "    found = list(threads.map(lambda n: word, range(50)))\n"
        "assert found == ['x'] * 50\n"
    )
    answer = "D" + json.dumps({"value": "x", "printed": ""})
    assert run(TestsProcess(box.spawn), test, lambda text: answer)["passed"]


def test_one_that_does_not_stop_is_ended(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tests_process, "STOP_SECONDS", 0.5)
    tests = TestsProcess(box.spawn)
    assert run(tests, "1")["passed"]
    stubborn = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    with pytest.raises(MoatError, match="did not stop"):
        run(tests, stubborn, seconds=0.5)
    with pytest.raises(MoatError, match="SIGKILL"):
        run(tests, "1")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os; os._exit(3)", "exit code 3"),
        (f"import os; os.kill(os.getpid(), {signal.SIGKILL:d})", "SIGKILL"),
    ],
)
def test_one_that_ends_says_how(box: Box, source: str, words: str) -> None:
    tests = TestsProcess(box.spawn)
    for _ in range(2):
        with pytest.raises(MoatError, match=words):
            run(tests, source)


@pytest.mark.parametrize(
    ("cell", "passes"),
    [
        ("%%capture\nassert f() == 2", False),
        ("%%capture\nassert f() == 1", True),
        ("%%time\nassert f() == 2", False),
        ("%%time\nassert f() == 1", True),
        ("get_ipython().run_cell('assert f() == 2')", False),
        ("x = %timeit -n1 -r1 -q -o f()\nassert x.loops == 1", True),
        ("names = !echo a\nassert list(names) == ['a'] and f() == 1", True),
    ],
)
def test_cells_with_ipythons_commands_pass_or_fail_as_others(
    box: Box, cell: str, passes: bool
) -> None:
    def ask(text: str) -> str:
        if json.loads(text[1:])["do"] == "global":
            about = {"number": 0, "type": "function", "callable": True, "instance_of": 1}
            return "D" + json.dumps({"value": {"k": "name", "v": about}, "printed": ""})
        return "D" + json.dumps({"value": 1, "printed": ""})

    found = run(TestsProcess(box.spawn), cell, ask)
    assert found["passed"] is passes, found
