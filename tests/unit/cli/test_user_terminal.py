"""What is asked at a terminal, at a real one; what is written to a pipe that is full."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from moat_nb.cli.user_terminal import is_there, write_all

ASK = """\
import sys
from moat_nb.cli.user_terminal import asked, is_there
print(is_there(), asked("so?", default=sys.argv[1] == "yes"))
"""


@pytest.mark.parametrize(
    ("default", "typed", "answer"),
    [
        ("no", b"y\n", True),
        ("no", b" YES \n", True),
        ("no", b"\n", False),
        ("no", b"perhaps\n", False),
        ("yes", b"\n", True),
        ("yes", b"n\n", False),
        ("yes", b"\x04", False),  # the end of input
    ],
)
def test_an_answer_is_what_was_typed(default: str, typed: bytes, answer: bool) -> None:
    here, there = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ASK, default], stdin=there, stderr=there, stdout=subprocess.PIPE
    )
    os.close(there)
    assert os.read(here, 100) == f"so? [{'Y/n' if default == 'yes' else 'y/N'}] ".encode()
    os.write(here, typed)
    assert process.communicate(timeout=60)[0] == f"True {answer}\n".encode()
    os.close(here)


def test_nobody_is_there_where_nothing_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert not is_there()


@pytest.mark.parametrize(
    ("backend", "there"), [("module://matplotlib_inline.backend_inline", False), ("agg", True)]
)
def test_nobody_is_there_in_a_notebook(backend: str, there: bool) -> None:
    """Its terminal is one that nobody types at, and would wait for ever."""
    far, near = os.openpty()
    argv = [sys.executable, "-c", "from moat_nb.cli.user_terminal import *; print(is_there())"]
    done = subprocess.run(
        argv,
        env={**os.environ, "MPLBACKEND": backend},
        stdin=near,
        stderr=near,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout == f"{there}\n".encode()
    os.close(near)
    os.close(far)


def test_all_is_written_to_a_pipe_that_does_not_block() -> None:
    here, there = os.pipe()
    os.set_blocking(there, False)
    data = os.urandom(1 << 20)
    writer = threading.Thread(target=lambda: (write_all(there, data), os.close(there)))
    writer.start()
    with os.fdopen(here, "rb") as stream:
        assert stream.read() == data
    writer.join()
