"""The subcommands of ``%moat``: each parses its own words, and prints what the CLI would print."""

from __future__ import annotations

import contextlib
import shlex
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import display

from moat_nb.cli.main import split
from moat_nb.cli.mistakes import no_such, without_dashes
from moat_nb.cli.options import DIRECTORY, DOCKERFILE, MOUNT, RUNTIME, SERVICE
from moat_nb.errors import MoatError, SandboxGone
from moat_nb.notebook.commands import notify, run_command
from moat_nb.notebook.session import Session, Sessions
from moat_nb.text.tables import amount, table
from moat_nb.text.terminal import printable

__all__ = ["SUBCOMMANDS", "dispatch", "notify", "without_our_own_lines"]


@contextlib.contextmanager
def without_our_own_lines() -> Iterator[None]:
    """Have IPython show an error of ours as its text, which is meant for the user as it stands."""
    try:
        yield
    except MoatError as error:
        if not hasattr(error, "_render_traceback_"):
            lines = [f"{type(error).__name__}: {error}"]
            setattr(error, "_render_traceback_", lambda: lines)  # noqa: B010 - mypy knows none
        raise


def dispatch(sessions: Sessions, line: str) -> None:
    """Do what ``line``, the text behind ``%moat``, asks for; UsageError when it cannot be read."""
    words, dashes, command = split(shlex.split(line))
    name, *rest = words or ["status"]
    if name not in SUBCOMMANDS:
        there = f"there are: {', '.join(SUBCOMMANDS)}"
        raise UsageError(f"%moat: {no_such('subcommand', name, SUBCOMMANDS, there)}")
    subcommand = SUBCOMMANDS[name]
    if "--help" in rest or "-h" in rest:
        print(subcommand.parser.format_help())
    elif dashes and name != "run":
        raise UsageError("only `%moat run` takes a command after --")
    else:
        arguments, unknown = subcommand.parser.parse_known_args(rest)
        _refuse_unknown(name, rest, dashes, arguments, unknown)
        arguments.command = command
        with without_our_own_lines():
            subcommand(sessions, arguments)


def _refuse_unknown(
    name: str, words: list[str], dashes: bool, arguments: Namespace, unknown: list[str]
) -> None:
    """UsageError for words that nothing here knows, or that look like a command without its --."""
    said = [f"unrecognized arguments: {' '.join(unknown)}"] if unknown else []
    if name == "run" and not dashes:
        hint = without_dashes("%moat run", words, arguments.directory)
        said += filter(None, [hint])
    if said:
        raise UsageError("; ".join(said))


# ---------------------------------------------------------------- run


@magic_arguments(name="moat run")
@argument("directory", **DIRECTORY)
@argument("--name", metavar="N", help="what this notebook calls it (default: the project's name)")
@argument("--runtime", **RUNTIME)
@argument("--mount", **MOUNT)
@argument(
    *("--env", "-e"),
    action="append",
    default=[],
    metavar="NAME=VALUE",
    help="set a variable in it; may be repeated",
)
def run(sessions: Sessions, arguments: Namespace) -> None:
    """Start the sandbox of the nearest moat.yaml, or show it if it runs.

    `%moat run [DIR] -- CMD...` runs one command in it; an exit code other than 0 raises.
    """
    session = _running(sessions, arguments)
    if session is None:
        session = sessions.start(
            arguments.directory,
            arguments.name,
            runtime=arguments.runtime,
            mounts=arguments.mount,
            env=dict(_variable(text) for text in arguments.env),
        )
        for notice in session.sandbox.notices:
            print(f"moat: {printable(notice)}")
    sessions.make_current(session)
    if arguments.command:
        run_command(session.sandbox, arguments.command)
    else:
        display(session.sandbox)


def _running(sessions: Sessions, arguments: Namespace) -> Session | None:
    if arguments.name is None:
        found = sessions.find(arguments.directory)
    else:
        found = sessions.get(arguments.name) if arguments.name in sessions.names else None
    if found is not None and found.sandbox.gone is not None:
        notify(f"{found.name}: {found.sandbox.gone}; starting another")
        sessions.stop(found)
        return None
    if found is not None and (arguments.runtime or arguments.mount or arguments.env):
        raise MoatError(
            f"{found.name}: it runs already, and options are for a start: `%moat stop "
            f"{found.name}` first, or start another with --name"
        )
    return found


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--env {text}: write NAME=VALUE")
    return name, value


# ---------------------------------------------------------------- this notebook's sandboxes


@magic_arguments(name="moat status")
def status(sessions: Sessions, arguments: Namespace) -> None:
    """Show this notebook's sandboxes; the one that cells without a name run in is marked *, and
    shown below."""
    if not sessions.names:
        print("no sandbox runs; `%moat run` starts one")
        return
    current = sessions.get()
    rows = [("", "NAME", "ID", "STATE", "RUNTIME", "IN USE", "PROJECT")]
    for session in sessions:
        mark = "*" if session is current else ""
        runtime, project = session.sandbox.spec.runtime, str(session.project)
        use = _use(session)
        rows.append((mark, session.name, session.sandbox.id, session.state, runtime, use, project))
    print(table(rows))
    for session in sessions:
        for sidecar in session.sandbox.sidecars:
            if sidecar.gone is not None:
                print(f"\n{session.name}: {sidecar.describe('ended')}")
    display(current.sandbox)


def _use(session: Session) -> str:
    """Of the excludes' tmpfs."""
    try:
        return amount(sum(mount.used for mount in session.sandbox.mounts()))
    except SandboxGone:
        return "-"


_NAME = argument("name", nargs="?", help="the sandbox (default: the one last started or shown)")


@magic_arguments(name="moat restart")
@_NAME
def restart(sessions: Sessions, arguments: Namespace) -> None:
    """Start a new kernel. The sandbox stays, and with it what is in its excluded directories."""
    session = sessions.get(arguments.name)
    session.restart()
    notify(f"{session.name}: a new kernel; the sandbox is the same")
    if outdated := session.sandbox.outdated():
        notify(f"{session.name}: {outdated}")


@magic_arguments(name="moat reset")
@_NAME
def reset(sessions: Sessions, arguments: Namespace) -> None:
    """Start a new sandbox in its place, of moat.yaml as it is now.

    What is in its excluded directories is lost.
    """
    session = sessions.get(arguments.name)
    session.reset()
    display(session.sandbox)


@magic_arguments(name="moat stop")
@_NAME
@argument("--all", action="store_true", help="all of this notebook's")
def stop(sessions: Sessions, arguments: Namespace) -> None:
    """End a sandbox of this notebook."""

    def told(session: Session) -> None:
        notify(f"{session.name}: stopped")

    if arguments.all:
        sessions.stop_all(told=told)
        return
    session = sessions.get(arguments.name)
    sessions.stop(session)
    told(session)


@magic_arguments(name="moat logs")
@argument("name", nargs="?", help="a sandbox of this notebook, or what `%%moat ps` shows")
@argument("--service", **SERVICE)
def logs(sessions: Sessions, arguments: Namespace) -> None:
    """Print what its kernels wrote to their own stdout and stderr, or what a service printed."""
    from moat_nb.cli.sandboxes import logs

    logs(_id(sessions, arguments.name), follow=False, service=arguments.service)


@magic_arguments(name="moat network")
@argument("name", nargs="?", help="a sandbox of this notebook, or what `%%moat ps` shows")
def network(sessions: Sessions, arguments: Namespace) -> None:
    """Print what it asked for of the network, what became of it, and by which rule."""
    from moat_nb.cli.sandboxes import trace

    trace(_id(sessions, arguments.name), as_json=False)


@magic_arguments(name="moat changes")
@argument("name", nargs="?", help="a sandbox of this notebook, or what `%%moat ps` shows")
def changes(sessions: Sessions, arguments: Namespace) -> None:
    """Print what changed in its workspace since its start, the dangerous first."""
    from moat_nb.cli.changes import changes

    changes(_id(sessions, arguments.name), as_json=False)


@magic_arguments(name="moat freeze")
@argument("name", nargs="?", help="a sandbox of this notebook, or what `%%moat ps` shows")
@argument("--all", action="store_true", help="also what those packages need")
@argument("--yes", "-y", action="store_true", help="write it; without, only show it")
def freeze(sessions: Sessions, arguments: Namespace) -> None:
    """Write what was installed in it to `kernel.packages` of its moat.yaml."""
    from moat_nb.cli.freeze import freeze

    freeze(_id(sessions, arguments.name), everything=arguments.all, yes=arguments.yes)


def _id(sessions: Sessions, name: str | None) -> str:
    """Of a session's sandbox, or ``name`` as it is."""
    if name is None or name in sessions.names:
        return sessions.get(name).sandbox.id
    return name


@magic_arguments(name="moat excludes")
@argument("directory", **DIRECTORY)
def excludes(sessions: Sessions, arguments: Namespace) -> None:
    """Edit what the project's sandbox does not see.

    "Apply" in the editor is `%moat reset`, where this notebook has a sandbox of the project.
    """
    from moat_nb.excludes.widget.editor import ExcludesEditor

    session = sessions.find(arguments.directory)
    if session is None:
        display(ExcludesEditor(arguments.directory))
        return
    known = session

    def apply() -> None:
        if known not in sessions:
            raise MoatError(f"{known.name}: it was stopped; `%moat run` starts it")
        known.reset()

    display(ExcludesEditor(arguments.directory, sandbox=known.sandbox, apply=apply))


# ---------------------------------------------------------------- what the command line prints


@magic_arguments(name="moat ps")
def ps(sessions: Sessions, arguments: Namespace) -> None:
    """List the sandboxes of all of your processes."""
    from moat_nb.cli.sandboxes import ps

    ps(as_json=False)


@magic_arguments(name="moat init")
@argument("directory", nargs="?", default=".", metavar="DIR", help="default: here")
@argument("--runtime", **RUNTIME)
def init(sessions: Sessions, arguments: Namespace) -> None:
    """Write a first moat.yaml, of what is found in the directory."""
    from moat_nb.cli.init import init

    init(arguments.directory, runtime=arguments.runtime, yes=True)


@magic_arguments(name="moat plan")
@argument("directory", **DIRECTORY)
@argument("--runtime", **RUNTIME)
@argument("--dockerfile", **DOCKERFILE)
def plan(sessions: Sessions, arguments: Namespace) -> None:
    """Show what would run, with nothing started."""
    from moat_nb.cli.plan import plan

    directory, runtime = arguments.directory, arguments.runtime
    plan(directory, runtime, form="dockerfile" if arguments.dockerfile else "text")


@magic_arguments(name="moat doctor")
def doctor(sessions: Sessions, arguments: Namespace) -> None:
    """Say what can be used here, and what to do about what cannot."""
    from moat_nb.cli.doctor import report

    display(report())


SUBCOMMANDS: dict[str, Any] = {
    "run": run,
    "status": status,
    "restart": restart,
    "reset": reset,
    "stop": stop,
    "logs": logs,
    "network": network,
    "changes": changes,
    "freeze": freeze,
    "ps": ps,
    "excludes": excludes,
    "init": init,
    "plan": plan,
    "doctor": doctor,
}
"""By name. Called with the sessions and the parsed words, the ``command`` behind ``--`` among
them; each has its ``parser``."""
