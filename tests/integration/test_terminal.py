"""`moat-nb shell` and `run -t`: a terminal inside, on a terminal here, on real sandboxes."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.conftest import Launcher


class Screen:
    """A terminal, and a program on it; this side keeps both ends."""

    def __init__(self, *words: str) -> None:
        self.leader, self.follower = pty.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(self.follower)
        self.said = ""
        argv = [sys.executable, "-m", "moat_nb", *words]
        ends: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), self.follower)
        env = {**os.environ, "TERM": "xterm"}
        # Whoever runs the tests by nohup has them ignore SIGHUP.
        words = ["setsid", "--ctty", "env", "--default-signal=HUP", *argv]
        self.process = subprocess.Popen(words, env=env, **ends)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.leader, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def keys(self, text: str) -> None:
        os.write(self.leader, text.encode())

    def until(self, words: str) -> str:
        """What was shown since the last call, up to ``words``."""
        give_up = time.monotonic() + 120
        while words not in self.said:
            assert time.monotonic() < give_up, self.said
            if select.select([self.leader], [], [], 0.1)[0]:
                self.said += os.read(self.leader, 65536).decode(errors="replace")
        found, _, self.said = self.said.partition(words)
        return found + words

    def ended(self) -> int:
        """The exit code, once the terminal is seen to be as it was."""
        code = self.process.wait(120)
        assert termios.tcgetattr(self.follower) == self.before
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.leader)
        os.close(self.follower)


@pytest.fixture
def screens() -> Iterator[list[Screen]]:
    made: list[Screen] = []
    yield made
    for one in made:
        one.close()


@pytest.fixture
def shell(launcher: Launcher, screens: list[Screen]) -> Screen:
    words = ("shell", str(launcher.project("lib")), "--runtime", launcher.runtime)
    screens.append(Screen(*words))
    screens[-1].until("$ ")
    return screens[-1]


def test_a_shell_is_on_a_terminal_whose_size_and_keys_are_those_of_here(shell: Screen) -> None:
    shell.resize(33, 101)
    shell.keys("stty size; pwd; echo $TERM; ls -A lib | wc -l\r")
    shell.until("33 101\r\n/workspace\r\nxterm\r\n0\r\n")
    shell.keys("sh -c 'echo re\"\"ady; exec sleep 1000'\r")
    shell.until("ready\r\n")
    shell.keys("\x03")
    shell.until("^C")
    # A line that fits on the screen, as a longer one is drawn in parts.
    shell.keys("printf 'a\\033]52;c;eA==\\007b\\033[6nc\\033[?1000;1049h.\\n'\r")
    shell.until("abc\x1b[?1000;1049h.\r\n")
    shell.keys("exit 7\r")
    shown = shell.until("\x1b[0m")
    assert "\x1b[?1000l" in shown and "\x1b[?1049l" in shown
    assert shell.ended() == 7


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_as_it_was_when_we_are_ended(
    on_bubblewrap: Launcher, screens: list[Screen], signum: int
) -> None:
    project = on_bubblewrap.project()
    words = ("run", "-q", "-t", str(project), "--runtime", "bubblewrap")
    screens.append(Screen(*words, "--", "sh", "-c", "trap '' HUP TERM INT; echo up; sleep 1000"))
    screens[-1].until("up\r\n")
    assert termios.tcgetattr(screens[-1].follower) != screens[-1].before
    screens[-1].process.send_signal(signum)
    assert screens[-1].ended() == 128 + signum


def test_the_terminal_is_as_it_was_when_the_sandbox_is_ended(shell: Screen) -> None:
    shell.keys("kill -9 -1\r")  # all of the sandbox that it may
    shell.keys("exit 3\r")
    assert shell.ended() in (3, 128 + signal.SIGKILL)


def test_what_cannot_be_is_said(on_bubblewrap: Launcher, screens: list[Screen]) -> None:
    words = ["run", "-q", "-t", str(on_bubblewrap.project()), "--runtime", "bubblewrap"]
    screens.append(Screen(*words, "--", "no-such-program"))
    screens[-1].until("moat-nb: No such file or directory: no-such-program (in the sandbox)")
    assert screens[-1].ended() == 127
    done = subprocess.run(
        [sys.executable, "-m", "moat_nb", *words, "--", "true"],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 125
    assert done.stderr == b"moat-nb: stdin is no terminal; `moat-nb run -- CMD` needs none\n"
