"""The command line: what is asked for, and which module answers.

Nothing is imported before it is needed, so that `moat-nb plan` answers at once and a kernelspec's
shim starts without a detour.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

import moat_nb
from moat_nb.errors import MoatError

__all__ = ["main"]

FAILED = 1
RUN_FAILED = 125
"""As docker's: 1 could be the command's own."""

INTERRUPTED = 130
READER_GONE = 141
"""What shells say of a command whose reader ended: 128 + SIGPIPE."""

Handler: TypeAlias = Callable[[argparse.Namespace], int]
_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

EPILOG = """\
example:
  moat-nb plan                     what would run for the moat.yaml here
  moat-nb run -- python3 -V        one command in its sandbox
  moat-nb install                  a kernel for JupyterLab, VS Code and nbconvert

`moat-nb COMMAND --help` says more of each. Exit codes: 0, 1 for an error, 2 for a usage error;
`run` has its own. `moat-nb kernel` is for kernelspecs, which run it.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code, or raises SystemExit for a usage error."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["kernel"]:
        from moat_nb.shim import main as shim

        return shim(argv[1:])
    arguments = _parse(argv)
    handler: Handler = arguments.handler
    try:
        code = handler(arguments)
        sys.stdout.flush()
    except MoatError as error:
        for line in str(error).splitlines():
            print(f"moat-nb: {line}", file=sys.stderr)
        return RUN_FAILED if arguments.subcommand == "run" else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python would complain once more when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    return code


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    # What stands behind `--` is the sandbox's command, whatever it looks like.
    ours, dashes, command = _split(argv)
    parser = _parser()
    arguments = parser.parse_args(ours)
    if dashes and arguments.subcommand != "run":
        parser.error("only `moat-nb run` takes a command after --")
    arguments.argv = command
    return arguments


def _split(argv: Sequence[str]) -> tuple[list[str], bool, list[str]]:
    words = list(argv)
    if "--" not in words:
        return words, False, []
    at = words.index("--")
    return words[:at], True, words[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="moat-nb",
        description="Jupyter kernels in sandboxes that a project's moat.yaml describes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"moat-nb {moat_nb.__version__}")
    commands = parser.add_subparsers(
        dest="subcommand", metavar="COMMAND", title="commands", required=True
    )
    _add_project_commands(commands)
    _add_kernelspec_commands(commands)
    _add_sandbox_commands(commands)
    _add_machine_commands(commands)
    return parser


def _add(
    commands: _Commands, name: str, handler: Handler, summary: str, detail: str, example: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n\n{detail}".rstrip(),
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=handler)
    return parser


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory",
        nargs="?",
        default=".",
        metavar="DIR",
        help="where moat.yaml is sought, and upward from there (default: here)",
    )


def _add_runtime(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runtime",
        metavar="R",
        help="docker, podman, bubblewrap or apple (default: the file's, else what answers here)",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


# ---------------------------------------------------------------- a project's sandbox


def _add_project_commands(commands: _Commands) -> None:
    parser = _add(
        commands,
        "plan",
        _plan,
        "show what would run, with nothing started",
        "Needs no engine: `--runtime docker` is rendered without one.\n"
        "The id of a real start stands as 00000000.",
        "moat-nb plan notebooks --runtime bubblewrap",
    )
    _add_directory(parser)
    _add_runtime(parser)
    _add_json(parser)
    parser.add_argument("--dockerfile", action="store_true", help="print the image's Dockerfile")

    parser = _add(
        commands,
        "run",
        _run,
        "run one command in a new sandbox",
        "Its output is passed on as it comes, and stdin unless that is a terminal; it gets no\n"
        "terminal. Ctrl-C interrupts the command, a second one kills it. Without a command the\n"
        "file's `command` runs. Nothing stays behind.\n\n"
        "exit code: the command's own, 128+N if signal N ended it; 127 if there is no such\n"
        "command, 126 if it cannot be run; 125 if the sandbox did not start, or ended early.",
        "moat-nb run --mount ~/data:/data:ro -- python3 train.py",
    )
    parser.usage = "moat-nb run [-h] [--mount S:T[:ro]] [--runtime R] [--quiet] [DIR] [-- CMD ...]"
    _add_directory(parser)
    _add_runtime(parser)
    parser.add_argument(
        "--mount",
        action="append",
        default=[],
        metavar="S:T[:ro]",
        help="show host path S at T as well; may be repeated",
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no notices, no progress")

    parser = _add(
        commands,
        "build",
        _build,
        "build the project's image now rather than at the first start",
        "Does nothing when the image is there.",
        "moat-nb build",
    )
    _add_directory(parser)
    _add_runtime(parser)


def _plan(arguments: argparse.Namespace) -> int:
    from moat_nb.cli_plan import plan

    return plan(
        arguments.directory,
        arguments.runtime,
        form="json" if arguments.json else "dockerfile" if arguments.dockerfile else "text",
    )


def _run(arguments: argparse.Namespace) -> int:
    from moat_nb.cli_run import run

    return run(
        arguments.directory,
        arguments.argv,
        runtime=arguments.runtime,
        mounts=arguments.mount,
        quiet=arguments.quiet,
    )


def _build(arguments: argparse.Namespace) -> int:
    from moat_nb.cli_build import build

    return build(arguments.directory, arguments.runtime)


# ---------------------------------------------------------------- kernelspecs


def _add_kernelspec_commands(commands: _Commands) -> None:
    parser = _add(
        commands,
        "install",
        _install,
        "install a kernelspec for the project",
        "The kernel is then offered by every Jupyter client as `Python 3 (moat: NAME)`.\n"
        "Installing again replaces it.",
        "moat-nb install . --sys-prefix",
    )
    _add_directory(parser)
    _add_runtime(parser)
    parser.add_argument("--name", metavar="N", help="the kernelspec's name (default: moat-NAME)")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--user", action="store_true", help="for this user (the default)")
    place.add_argument(
        "--sys-prefix",
        action="store_const",
        dest="prefix",
        const=sys.prefix,
        help="into this Python environment",
    )
    place.add_argument("--prefix", metavar="P", help="into P/share/jupyter/kernels")

    parser = _add(
        commands,
        "uninstall",
        _uninstall,
        "remove the project's kernelspecs, or one by name",
        "Only kernelspecs that moat-nb installed are removed.",
        "moat-nb uninstall moat-myproject",
    )
    parser.add_argument(
        "which", nargs="?", default=".", metavar="DIR|NAME", help="default: the project here"
    )


def _install(arguments: argparse.Namespace) -> int:
    from moat_nb.kernelspec import install

    name, place = install(
        arguments.directory,
        runtime=arguments.runtime,
        name=arguments.name,
        prefix=arguments.prefix,
    )
    print(f"installed {name} in {place}")
    return 0


def _uninstall(arguments: argparse.Namespace) -> int:
    from moat_nb.kernelspec import uninstall

    for place in uninstall(arguments.which):
        print(f"removed {place}")
    return 0


# ---------------------------------------------------------------- running sandboxes


def _add_sandbox_commands(commands: _Commands) -> None:
    parser = _add(commands, "ps", _ps, "list your sandboxes", "", "moat-nb ps --json")
    _add_json(parser)

    parser = _add(
        commands,
        "logs",
        _logs,
        "print what a sandbox's kernels wrote to their own stdout and stderr",
        "Kept as long as the sandbox is: the last 10 to 20 MiB.",
        "moat-nb logs myproject --follow",
    )
    parser.add_argument("which", nargs="?", metavar="NAME|ID", help="default: the newest")
    parser.add_argument("--follow", "-f", action="store_true", help="go on until it ends")

    parser = _add(
        commands,
        "stop",
        _stop,
        "end a sandbox of another process",
        "The process that started it lives on, and sees that its sandbox is gone.",
        "moat-nb stop 3f9c01ab",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("which", nargs="?", metavar="NAME|ID", help="as `moat-nb ps` shows it")
    which.add_argument("--all", action="store_true", help="all of yours")


def _ps(arguments: argparse.Namespace) -> int:
    from moat_nb.cli_sandboxes import ps

    return ps(as_json=arguments.json)


def _logs(arguments: argparse.Namespace) -> int:
    from moat_nb.cli_sandboxes import logs

    return logs(arguments.which, follow=arguments.follow)


def _stop(arguments: argparse.Namespace) -> int:
    from moat_nb.cli_sandboxes import stop

    return stop(None if arguments.all else arguments.which)


# ---------------------------------------------------------------- the machine


def _add_machine_commands(commands: _Commands) -> None:
    parser = _add(
        commands,
        "clean",
        _clean,
        "remove what killed launchers left",
        "Directories and containers whose launcher is dead; running sandboxes are not touched.",
        "moat-nb clean --images",
    )
    parser.add_argument("--images", action="store_true", help="the images that were built, too")

    parser = _add(
        commands,
        "doctor",
        _doctor,
        "say what can be used here, and how to mend what cannot",
        "Exit code 0 if any runtime is usable.",
        "moat-nb doctor --json",
    )
    _add_json(parser)

    _add(
        commands,
        "demo",
        _demo,
        "run the quickstart notebook in a sandbox and show what was proved",
        "",
        "moat-nb demo",
    )


def _clean(arguments: argparse.Namespace) -> int:
    from moat_nb.cli_clean import clean

    return clean(images=arguments.images)


def _doctor(arguments: argparse.Namespace) -> int:
    from moat_nb.doctor import main as doctor

    return doctor(as_json=arguments.json)


def _demo(arguments: argparse.Namespace) -> int:
    from moat_nb.demo import main as demo

    return demo()
