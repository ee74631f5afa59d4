"""``%moat`` and ``%%moat``: sandboxes from a notebook on the user's own kernel.

No rule of its own lives here: a line is parsed, a session found or started, and a cell handed to
it.
"""

from __future__ import annotations

import argparse
import atexit
import getpass
import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments

from moat_nb.errors import MoatRemoteError
from moat_nb.jupyter.cells import Options, run_cell
from moat_nb.notebook.background import CellHandle
from moat_nb.notebook.completion import Matcher
from moat_nb.notebook.display import Replay
from moat_nb.notebook.imports import Guard, import_all
from moat_nb.notebook.session import Session, Sessions
from moat_nb.notebook.subcommands import dispatch, notify, without_our_own_lines
from moat_nb.notebook.values.transfer import FORMS, bring_in, bring_out, evaluate

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["MoatMagics", "load", "unload"]


@magics_class
class MoatMagics(Magics):
    """One for each shell; ``sessions`` are the sandboxes that run."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell = shell
        self.guard = Guard(notify)
        self.sessions = Sessions(lambda plan: self.guard.before_start(plan.spec.mounts))
        self.matcher = Matcher(self.sessions, self.moat_cell.parser, self._variables)

    @line_magic
    def moat(self, line: str) -> None:
        """Sandboxes of this notebook.

        ::

            %moat init                      write a first moat.yaml, of what is found here
            %moat run                       start the sandbox of the nearest moat.yaml, or show it
            %moat run ../other --name b     another project's, under a name
            %moat run -- npm install        run one command in it
            %moat status                    this notebook's sandboxes
            %moat restart                   a new kernel; the sandbox stays, with its files
            %moat reset                     a new sandbox, of moat.yaml as it is now
            %moat stop                      end it
            %moat excludes                  edit what it does not see
            %moat freeze                    what was installed in it, for moat.yaml
            %moat logs                      what its kernels wrote to their own stdout and stderr
            %moat network                   what it asked for of the network, and by which rule
            %moat plan                      what would run
            %moat ps                        the sandboxes of all of your processes
            %moat doctor                    what this machine can run sandboxes with

        ``%moat SUBCOMMAND --help`` says more of each. ``%%moat`` runs a cell in the
        sandbox; see ``%%moat?``.
        """
        dispatch(self.sessions, line)

    @magic_arguments(name="%moat")
    @argument("name", nargs="?", help="the sandbox (default: the one last started or shown)")
    @argument("--timeout", type=float, metavar="S", help="interrupt the cell after S seconds")
    @argument(
        "--noblock",
        action="store_true",
        help="return at once, with a handle: done(), result(), cancel()",
    )
    @argument(
        "--in",
        dest="into",
        action="append",
        default=[],
        metavar="NAME",
        help="bring a variable of this notebook into the sandbox first; may be repeated",
    )
    @argument(
        "--out",
        action="append",
        default=[],
        metavar="NAME",
        help="bring a variable of the sandbox's here afterwards; may be repeated",
    )
    @argument(
        "--as",
        dest="form",
        choices=FORMS,
        help="how --in and --out carry values (default: tables as Arrow, others as JSON)",
    )
    @argument(
        "--trust",
        action="store_true",
        help="show scripts and other active output in your own page, with all your rights",
    )
    @cell_magic("moat")  # type: ignore[arg-type] # a name is what its docstring asks for
    def moat_cell(self, line: str, cell: str) -> CellHandle | None:
        """Run the cell in a sandbox.

        Without a running one the sandbox of the nearest moat.yaml is started. Output is shown as
        a native cell's; scripts in it run in a frame of their own. An error raises
        MoatRemoteError here.

        ::

            %%moat
            import pandas as pd
            frame = pd.read_csv("data.csv")
            frame.describe()

            %%moat --in limit --out frame --timeout 60
            frame = frame[frame.x < limit]

            %%moat --noblock
            train()
        """
        arguments = self.moat_cell.parser.parse_args(shlex.split(line))
        with without_our_own_lines():
            session = self._session(arguments.name)
            return self._run_cell(session, cell, arguments)

    def _session(self, name: str | None) -> Session:
        if name is None and not self.sessions.names:
            session = self.sessions.start(".", None)
            notify(f"started the sandbox {session.name} of {session.project}")
            return session
        return self.sessions.get(name)

    def _run_cell(
        self, session: Session, cell: str, arguments: argparse.Namespace
    ) -> CellHandle | None:
        replay = Replay(
            *(self._shell, session.displays, session.drawings), trust=arguments.trust, hint=notify
        )
        values = {name: self._value(name) for name in arguments.into}
        ask = None if arguments.noblock or not _can_ask(self._shell) else _ask
        options = Options(ask=ask, timeout=arguments.timeout)

        def run() -> None:
            with session.my_turn(options.cancelled) as kernel, self.guard.looking():
                draw_with = partial(evaluate, kernel)
                for name, value in values.items():
                    bring_in(kernel, name, value, arguments.form)
                try:
                    replay.pages(run_cell(kernel, cell, replay.show, options))
                except MoatRemoteError:
                    replay.finish(draw_with)
                    raise
                replay.finish(draw_with)
                for name in arguments.out:
                    value = bring_out(kernel, name, arguments.form)
                    self._shell.push({name: value})

        if arguments.noblock:
            return CellHandle(session.name, run, options.cancelled)
        run()
        return None

    def _variables(self) -> list[str]:
        """Those of the user, without what IPython itself has there."""
        hidden = self._shell.user_ns_hidden
        return [name for name in self._shell.user_ns if name[0] != "_" and name not in hidden]

    def _value(self, name: str) -> Any:
        if name not in self._shell.user_ns:
            raise UsageError(f"--in {name}: this notebook has no variable of this name")
        return self._shell.user_ns[name]


def _can_ask(shell: InteractiveShell) -> bool:
    # A kernel knows whether its front end answers; a terminal always does.
    kernel = getattr(shell, "kernel", None)
    return kernel is None or bool(kernel._allow_stdin)


def _ask(prompt: str, secret: bool) -> str:
    return getpass.getpass(prompt) if secret else input(prompt)


# ---------------------------------------------------------------- the extension


def load(shell: InteractiveShell) -> None:
    """Add the magics to ``shell``; their sandboxes end with its process, if not before."""
    import_all()
    magics = MoatMagics(shell)
    shell.register_magics(magics)
    shell.Completer.custom_matchers.append(magics.matcher.match)
    atexit.register(magics.sessions.stop_all)


def unload(shell: InteractiveShell) -> None:
    """Take the magics away, and end their sandboxes."""
    magics = shell.magics_manager.registry.pop(MoatMagics.__name__)
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("moat", None)
    shell.Completer.custom_matchers.remove(magics.matcher.match)
    atexit.unregister(magics.sessions.stop_all)
    magics.sessions.stop_all()
    magics.guard.end()
