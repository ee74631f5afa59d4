"""The command line: what is asked for, and which module answers.

Nothing is imported before it is needed, so that `moat-nb plan` answers at once and a kernelspec's
shim starts without a detour.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout

from moat_nb.cli.mistakes import no_such, without_dashes
from moat_nb.cli.parser import parser
from moat_nb.errors import MoatError
from moat_nb.text.terminal import Harmless, one_line

__all__ = ["main", "split"]

FAILED = 1
RUN_FAILED = 125
"""As docker's: 1 could be the command's own."""

INTERRUPTED = 130
READER_GONE = 141
"""A shell's exit status for a command whose reader ended: 128 + SIGPIPE."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code, or raises SystemExit for a usage error."""
    argv = sys.argv[1:] if argv is None else list(argv)
    with (
        redirect_stdout(Harmless.around(sys.stdout)),
        redirect_stderr(Harmless.around(sys.stderr)),
    ):
        return _main(argv)


def _main(argv: list[str]) -> int:
    if argv[:1] == ["kernel"]:
        from moat_nb.jupyter.shim import main as shim

        return shim(argv[1:])
    arguments = _parse(argv)
    try:
        code = HANDLERS[arguments.subcommand](arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return READER_GONE
    except MoatError as error:
        said = str(error)
    except OSError as error:  # of a disk that is full, say, wherever that is met
        said = one_line(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        try:
            sys.stdout.flush()
        except OSError:  # it was stdout's own
            _discard_stdout()
    else:
        return code
    for line in said.splitlines():
        print(f"moat-nb: {line}", file=sys.stderr)
    return RUN_FAILED if arguments.subcommand in ("run", "shell") else FAILED


def _discard_stdout() -> None:
    """Or Python would complain once more when it flushes it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    # What stands behind `--` is the sandbox's command, whatever it looks like.
    ours, dashes, command = split(argv)
    known = parser()
    if ours[:1] == ["help"]:
        ours = [*ours[1:], "--help"]
    if ours and not ours[0].startswith("-") and ours[0] not in HANDLERS:
        known.error(no_such("command", ours[0], HANDLERS, "`moat-nb --help` lists all"))
    arguments, unknown = known.parse_known_args(ours)
    hint = ""
    if arguments.subcommand == "run" and not dashes:
        hint = without_dashes("moat-nb run", ours[1:], arguments.directory)
    if unknown:
        known.error("; ".join(filter(None, (f"unrecognized arguments: {' '.join(unknown)}", hint))))
    if hint and not os.path.lexists(arguments.directory):
        known.error(f"{arguments.directory}: no such file or directory; {hint}")
    if dashes and arguments.subcommand != "run":
        known.error("only `moat-nb run` takes a command after --")
    arguments.argv = command
    return arguments


def split(argv: Sequence[str]) -> tuple[list[str], bool, list[str]]:
    """The words before ``--``, whether there is one, and the words behind it."""
    words = list(argv)
    if "--" not in words:
        return words, False, []
    at = words.index("--")
    return words[:at], True, words[at + 1 :]


def _grade(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.grade import grade

    return grade(arguments)


def _init(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.init import init

    return init(arguments.directory, runtime=arguments.runtime, yes=arguments.yes)


def _plan(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.plan import plan

    forms = ("json", "dockerfile", "manifest")
    form = next((form for form in forms if getattr(arguments, form)), "text")
    return plan(arguments.directory, arguments.runtime, form=form)


def _run(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.run import run

    return run(
        arguments.directory,
        arguments.argv,
        runtime=arguments.runtime,
        mounts=arguments.mount,
        quiet=arguments.quiet,
        terminal=arguments.terminal,
    )


def _shell(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.run import enter

    return enter(arguments.directory, runtime=arguments.runtime, mounts=arguments.mount)


def _allow(arguments: argparse.Namespace) -> int:
    from moat_nb.cli import allow

    if arguments.list:
        return allow.show()
    if arguments.revoke:
        return allow.revoke(arguments.directory)
    return allow.allow(arguments.directory, yes=arguments.yes, keys=arguments.keys)


def _build(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.build import build

    return build(arguments.directory, arguments.runtime)


def _lab(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.allow import on_terminal
    from moat_nb.cli.visible_secrets import tell
    from moat_nb.jupyter.server.serve import serve

    return serve(
        arguments.directory,
        front_end=arguments.subcommand,
        runtime=arguments.runtime,
        port=arguments.port,
        browser=arguments.browser,
        before=tell,
        approve=on_terminal(),
    )


def _install(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.allow import on_terminal
    from moat_nb.cli.build import build_for_later
    from moat_nb.cli.visible_secrets import tell
    from moat_nb.jupyter.kernelspec import install

    name, place = install(
        arguments.directory,
        runtime=arguments.runtime,
        name=arguments.name,
        prefix=arguments.prefix,
        trust_output=arguments.trust_output,
        workspace=arguments.workspace,
        before=tell,
        approve=on_terminal(),
    )
    print(f"installed {name} in {place}", flush=True)
    build_for_later(arguments.directory, arguments.runtime)
    return 0


def _uninstall(arguments: argparse.Namespace) -> int:
    from moat_nb.jupyter.kernelspec import uninstall

    for place in uninstall(arguments.which):
        print(f"removed {place}")
    return 0


def _ps(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.sandboxes import ps

    return ps(as_json=arguments.json)


def _logs(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.sandboxes import logs

    return logs(arguments.which, follow=arguments.follow, service=arguments.service)


def _trace(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.sandboxes import trace

    return trace(arguments.which, as_json=arguments.json)


def _changes(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.changes import changes

    return changes(arguments.which, as_json=arguments.json)


def _diff(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.workspace_copy import diff

    return diff(arguments.project, arguments.paths, arguments.runtime, names=arguments.names)


def _pull(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.workspace_copy import pull

    return pull(arguments.project, arguments.paths, arguments.runtime, force=arguments.force)


def _discard(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.workspace_copy import discard

    return discard(arguments.project, arguments.runtime, yes=arguments.yes)


def _open(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.open import open_port

    return open_port(arguments.words, only_print=arguments.print)


def _freeze(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.freeze import freeze

    return freeze(arguments.which, everything=arguments.all, yes=arguments.yes)


def _stop(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.sandboxes import stop

    return stop(None if arguments.all else arguments.which, yes=arguments.yes)


def _exclude(arguments: argparse.Namespace) -> int:
    from moat_nb.cli import exclude as cli_exclude

    if arguments.action == "list":
        return cli_exclude.show(arguments.project, as_json=arguments.json)
    return cli_exclude.change(
        arguments.project,
        arguments.target,
        arguments.paths,
        remove=arguments.action == "remove",
        objects=arguments.objects,
        dry_run=arguments.dry_run,
    )


def _schema(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.schema import schema

    return schema()


def _completion(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.completion import completion

    return completion(arguments.shell)


def _clean(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.clean import clean

    return clean(images=arguments.images, caches=arguments.cache, runtime=arguments.runtime)


def _doctor(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.doctor import main as doctor

    return doctor(as_json=arguments.json)


def _bench(arguments: argparse.Namespace) -> int:
    if arguments.grade:
        from moat_nb.cli.bench.grading import main as grading

        return grading(arguments.directory, runtime=arguments.runtime, runs=arguments.runs)
    from moat_nb.cli.bench import main as bench

    return bench(
        arguments.directory,
        runtime=arguments.runtime,
        runs=arguments.runs,
        as_json=arguments.json,
        with_peers=arguments.peers,
    )


def _demo(arguments: argparse.Namespace) -> int:
    from moat_nb.cli.demo import main as demo

    return demo(arguments.runtime, arguments.image)


HANDLERS: dict[str, Callable[[argparse.Namespace], int]] = {
    "init": _init,
    "plan": _plan,
    "run": _run,
    "shell": _shell,
    "allow": _allow,
    "build": _build,
    "exclude": _exclude,
    "schema": _schema,
    "lab": _lab,
    "notebook": _lab,
    "install": _install,
    "uninstall": _uninstall,
    "ps": _ps,
    "logs": _logs,
    "trace": _trace,
    "changes": _changes,
    "diff": _diff,
    "pull": _pull,
    "discard": _discard,
    "open": _open,
    "freeze": _freeze,
    "grade": _grade,
    "stop": _stop,
    "clean": _clean,
    "doctor": _doctor,
    "completion": _completion,
    "bench": _bench,
    "demo": _demo,
}
