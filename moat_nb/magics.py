"""``%moat`` and ``%%moat``: sandboxes from a notebook on the user's own kernel.

No rule of its own lives here: a line is parsed, a session found or started, and what the command
line prints is printed.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import getpass
import shlex
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import display

from moat_nb.cells import Options, run_cell
from moat_nb.errors import MoatError
from moat_nb.replay import Replay
from moat_nb.session import Session, Sessions

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["MoatMagics", "load", "unload"]


@magics_class
class MoatMagics(Magics):
    """One for each shell; ``sessions`` are the sandboxes that run."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell = shell
        self.sessions = Sessions()

    @line_magic
    def moat(self, line: str) -> Any:
        with without_our_own_lines():
            return self._moat(line)

    def _moat(self, line: str) -> Any:
        words, command = _split(line)
        name, *rest = words or ["status"]
        if name not in SUBCOMMANDS:
            raise UsageError(f"%moat {name}: there is no such subcommand; {', '.join(SUBCOMMANDS)}")
        return SUBCOMMANDS[name](self, rest, command)

    @magic_arguments(name="moat")
    @argument("name", nargs="?", help="the sandbox (default: the one last started)")
    @argument("--timeout", type=float, metavar="S", help="interrupt it after S seconds")
    @argument("--trust", action="store_true", help="show active output in your own page")
    @cell_magic("moat")  # type: ignore[arg-type] # a name is what its docstring asks for
    def moat_cell(self, line: str, cell: str) -> Any:
        """Run the cell in a sandbox."""
        arguments = self.moat_cell.parser.parse_args(shlex.split(line))
        with without_our_own_lines():
            session = self._session(arguments.name)
            self._run_cell(session, cell, arguments)

    def _run_cell(self, session: Session, cell: str, arguments: argparse.Namespace) -> None:
        replay = Replay(self._shell, session.displays, trust=arguments.trust, hint=say)
        ask = _ask if _can_ask(self._shell) else None
        with session.turn:
            run_cell(session.kernel, cell, replay.show, Options(ask=ask, timeout=arguments.timeout))

    def _session(self, name: str | None) -> Session:
        if name is None and not self.sessions.names:
            session = self.sessions.start(".", None)
            say(f"started the sandbox {session.name} of {session.project}")
            return session
        return self.sessions.get(name)


@contextlib.contextmanager
def without_our_own_lines() -> Iterator[None]:
    """Have IPython show an error of ours as its text, which is meant for the user as it stands."""
    try:
        yield
    except MoatError as error:
        if not hasattr(error, "_render_traceback_"):
            lines = [f"{type(error).__name__}: {error}"]
            setattr(error, "_render_traceback_", lambda: lines)  # noqa: B010 - mypy knows no such name
        raise


def say(text: str) -> None:
    print(f"moat: {text}", file=sys.stderr, flush=True)


def _split(line: str) -> tuple[list[str], list[str]]:
    words = shlex.split(line)
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _can_ask(shell: InteractiveShell) -> bool:
    # A kernel knows whether its front end answers; a terminal always does.
    kernel = getattr(shell, "kernel", None)
    return kernel is None or bool(kernel._allow_stdin)


def _ask(prompt: str, secret: bool) -> str:
    return getpass.getpass(prompt) if secret else input(prompt)


# ---------------------------------------------------------------- subcommands


@magic_arguments(name="moat run")
@argument("directory", nargs="?", default=".", metavar="DIR", help="where moat.yaml is sought")
@argument("--name", metavar="N")
@argument("--runtime", metavar="R")
@argument("--mount", action="append", default=[], metavar="S:T[:ro]")
def run(magics: MoatMagics, words: list[str], command: list[str]) -> None:
    """Start the sandbox of the nearest moat.yaml, or show it."""
    arguments = run.parser.parse_args(words)
    session = magics.sessions.find(arguments.directory)
    if session is None:
        session = magics.sessions.start(
            arguments.directory,
            arguments.name,
            runtime=arguments.runtime,
            mounts=arguments.mount,
        )
    magics.sessions.make_current(session)
    display(session.sandbox)


SUBCOMMANDS: dict[str, Callable[[MoatMagics, list[str], list[str]], Any]] = {"run": run}


# ---------------------------------------------------------------- the extension


def load(shell: InteractiveShell) -> None:
    magics = MoatMagics(shell)
    shell.register_magics(magics)
    atexit.register(magics.sessions.stop_all)


def unload(shell: InteractiveShell) -> None:
    magics = shell.magics_manager.registry.pop("MoatMagics")
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("moat", None)
    magics.sessions.stop_all()
    atexit.unregister(magics.sessions.stop_all)
