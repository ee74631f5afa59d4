"""A command of a sandbox on the user's own terminal: `moat-nb run -t` and `moat-nb shell`.

The command has a terminal of its own inside, and the user's passes keys and size on to it as they
are, so Ctrl-C and Ctrl-Z mean there what they mean here. What comes back goes through a filter.
Whatever ends the command or this process, but for a SIGKILL, the user's terminal is as it was.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType

from moat_nb.cli.user_terminal import write_all
from moat_nb.errors import MoatError, SandboxGone
from moat_nb.sandbox.guest_client import Exit, Process
from moat_nb.sandbox.sandbox import Sandbox
from moat_nb.text.terminal_filter import TerminalFilter

__all__ = ["follow", "require", "shell"]

PIECE = 4096
"""Bytes of keys that are read at once."""

JOIN_SECONDS = 1.0
"""For the thread that passes keys on, which may wait for a program that takes none."""

_SHELL = """\
if command -v bash >/dev/null; then PS1="(moat: $0) \\w\\$ " exec bash; fi
PS1="(moat: $0) $ " exec sh
"""
_KNOWN_EVERYWHERE = re.compile(r"(xterm|screen|tmux|rxvt|vt[0-9]|linux)[\w.+-]*")
_SIZE, _END = b"s", b"e"


def shell(name: str) -> tuple[str, ...]:
    """Whichever shell is there, with the project's name in its prompt."""
    return "sh", "-c", _SHELL, name


def require() -> None:
    """Raises MoatError where no terminal is."""
    for name, stream in (("stdin", sys.stdin), ("stdout", sys.stdout)):
        if stream is None or not stream.isatty():
            raise MoatError(f"{name} is no terminal; `moat-nb run -- CMD` needs none")


def follow(box: Sandbox, argv: Sequence[str]) -> Exit:
    """Run it to its end on this process's terminal.

    Raises StartError where it cannot be started, and SandboxGone.
    """
    with _Terminal() as terminal, box.refusals(terminal.tell):
        process = box.spawn(
            argv,
            env=_environment(os.environ),
            terminal=terminal.size(),
            on_output=lambda stream, data: terminal.show(data),
        )
        with terminal.passing_on(process):
            how = process.wait()
    if box.gone is not None:
        raise SandboxGone(box.gone)
    return how


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What programs go by on a terminal; one whose kind no image knows is given the nearest."""
    given = environ.get("TERM", "")
    kind = given if _KNOWN_EVERYWHERE.fullmatch(given) else "xterm-256color"
    # The filter passes no query, and prompt_toolkit (IPython's) complains of that unless told.
    return {"TERM": kind, "PROMPT_TOOLKIT_NO_CPR": "1"}


class _Terminal:
    """This process's own, in raw mode while it is entered."""

    def __init__(self) -> None:
        self._filter = TerminalFilter()
        self._writing = threading.Lock()
        self._open = False
        self._awake, self._wake = os.pipe()

    def __enter__(self) -> _Terminal:
        self._before = termios.tcgetattr(0)
        self._handler = signal.signal(
            signal.SIGWINCH, lambda signum, frame: os.write(self._wake, _SIZE)
        )
        tty.setraw(0)
        self._open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._writing:
            self._open = False
            with contextlib.suppress(OSError):  # of a window that was closed
                write_all(1, self._filter.reset())
        with contextlib.suppress(termios.error):
            # Forgets what was typed, and answered by the terminal, for a program that has ended.
            termios.tcsetattr(0, termios.TCSAFLUSH, self._before)
        signal.signal(signal.SIGWINCH, self._handler)

    def size(self) -> tuple[int, int]:
        """Its rows and columns."""
        columns, rows = os.get_terminal_size(1)
        return rows or 24, columns or 80

    def show(self, data: bytes) -> None:
        """What the command wrote."""
        with self._writing, contextlib.suppress(OSError):
            if self._open:
                write_all(1, self._filter.feed(data))

    def tell(self, words: str) -> None:
        """What is told beside it."""
        self.show(f"\r\nmoat-nb: {words}\r\n".encode())

    @contextlib.contextmanager
    def passing_on(self, process: Process) -> Iterator[None]:
        """Pass keys and sizes on until the block ends."""
        thread = threading.Thread(target=self._pass_on, args=(process,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.write(self._wake, _END)
            thread.join(JOIN_SECONDS)

    def _pass_on(self, process: Process) -> None:
        keys = 0  # stdin
        with contextlib.suppress(SandboxGone, OSError):
            while True:
                ready, _, _ = select.select([keys, self._awake], [], [])
                if self._awake in ready:
                    if _END in os.read(self._awake, PIECE):
                        return
                    process.resize(*self.size())
                elif data := os.read(keys, PIECE):
                    process.write(data)
                else:
                    process.signal(signal.SIGHUP)
                    return
