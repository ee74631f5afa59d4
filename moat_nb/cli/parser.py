"""What the command line's words are: commands, options, and the help of each."""

from __future__ import annotations

import argparse
import sys

from moat_nb.cli.copy_commands import add_copy_commands
from moat_nb.cli.grade_command import add_grade_command
from moat_nb.cli.machine_commands import add_machine_commands
from moat_nb.cli.options import (
    DOCKERFILE,
    MANIFEST,
    MOUNT,
    SERVICE,
    WHICH,
    Commands,
    add,
    add_directory,
    add_json,
    add_project,
    add_runtime,
)
from moat_nb.host.package import __version__

__all__ = ["parser"]

EPILOG = """\
example:
  moat-nb init                     a first moat.yaml for the project here
  moat-nb plan                     what would run for the moat.yaml here
  moat-nb run -- python3 -V        one command in its sandbox
  moat-nb lab                      JupyterLab, with the sandbox's rights alone
  moat-nb install                  a kernel for JupyterLab, VS Code and nbconvert

`moat-nb COMMAND --help` says more of each. Exit codes: 0, 1 for an error, 2 for a usage error;
`run` has its own. `moat-nb kernel` is for kernelspecs, which run it.
"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="moat-nb",
        description="Jupyter kernels in sandboxes that a project's moat.yaml describes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"moat-nb {__version__}")
    commands = top.add_subparsers(
        dest="subcommand", metavar="COMMAND", title="commands", required=True
    )
    _add_project_commands(commands)
    _add_exclude_commands(commands)
    _add_schema_command(commands)
    _add_server_commands(commands)
    _add_kernelspec_commands(commands)
    _add_sandbox_commands(commands)
    add_copy_commands(commands)
    add_grade_command(commands)
    _add_commands_on_a_sandbox(commands)
    add_machine_commands(commands)
    return top


# ---------------------------------------------------------------- a project's sandbox


def _add_project_commands(commands: Commands) -> None:
    _add_init_command(commands)
    parser = add(
        commands,
        "plan",
        "show what would run, with nothing started",
        "Needs no engine: `--runtime docker` is rendered without one.\n"
        "The id of a real start stands as 00000000.",
        "moat-nb plan notebooks --runtime bubblewrap",
    )
    add_directory(parser)
    add_runtime(parser)
    add_json(parser)
    parser.add_argument("--dockerfile", **DOCKERFILE)
    parser.add_argument("--manifest", **MANIFEST)

    parser = add(
        commands,
        "run",
        "run one command in a new sandbox",
        "Its output is passed on as it comes, and stdin unless that is a terminal. Ctrl-C\n"
        "interrupts the command, a second one kills it. With -t it has a terminal of its own, to\n"
        "which all keys go. Without a command the file's `command` runs. Nothing stays behind.\n\n"
        "exit code: the command's own, 128+N if signal N ended it; 127 if there is no such\n"
        "command, 126 if it cannot be run; 125 if the sandbox did not start, or ended early.",
        "moat-nb run --mount ~/data:/data:ro -- python3 train.py",
    )
    parser.usage = "moat-nb run [-h] [--mount S:T[:ro]] [--runtime R] [-q] [-t] [DIR] [-- CMD ...]"
    add_directory(parser)
    add_runtime(parser)
    parser.add_argument("--mount", **MOUNT)
    parser.add_argument("--quiet", "-q", action="store_true", help="no notices, no progress")
    parser.add_argument("--terminal", "-t", action="store_true", help="give it a terminal")

    parser = add(
        commands,
        "shell",
        "open a shell in a new sandbox",
        "All keys go inside; Ctrl-D or `exit` ends it. Nothing stays behind but what it wrote to\n"
        "the project. Exit codes are those of `run`.",
        "moat-nb shell",
    )
    add_directory(parser)
    add_runtime(parser)
    parser.add_argument("--mount", **MOUNT)

    _add_allow_command(commands)
    parser = add(
        commands,
        "build",
        "build the project's image now rather than at the first start",
        "Does nothing when the image is there.",
        "moat-nb build",
    )
    add_directory(parser)
    add_runtime(parser)


def _add_init_command(commands: Commands) -> None:
    parser = add(
        commands,
        "init",
        "write a first moat.yaml, of what is found in the project",
        "What looks like a secret or was built for this machine is excluded, and what\n"
        "requirements.txt, pyproject.toml and package.json ask for becomes a dependency.\n"
        "What a start here would refuse stands in a comment. No file is replaced.",
        "moat-nb init --yes",
    )
    parser.add_argument("directory", nargs="?", default=".", metavar="DIR", help="default: here")
    add_runtime(parser)
    parser.add_argument("--yes", "-y", action="store_true", help="without a question")


def _add_allow_command(commands: Commands) -> None:
    parser = add(
        commands,
        "allow",
        "approve what the project's moat.yaml asks of this machine",
        "Other directories, secrets, ports of this machine, a looser network, fewer excludes, ...\n"
        "A project that asks nothing beyond itself needs no approval.",
        "moat-nb allow --list",
    )
    add_directory(parser)
    parser.add_argument("--yes", "-y", action="store_true", help="without a question")
    parser.add_argument(
        "--keys",
        action="append",
        default=[],
        metavar="PATH",
        help="also this source, though keys or passwords are kept there; may be repeated",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--list", action="store_true", help="what is approved, by project")
    which.add_argument("--revoke", action="store_true", help="forget what was approved for it")


# ---------------------------------------------------------------- a project's excludes


def _add_exclude_commands(commands: Commands) -> None:
    parser = add(
        commands,
        "exclude",
        "list and change what a project's sandbox does not see",
        "moat.yaml is changed in just this list: comments, order and quotes stay.",
        "moat-nb exclude add node_modules .venv '**/__pycache__'",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    for name, summary in (
        ("add", "exclude paths or globs, relative to the mount's target"),
        ("remove", "exclude paths no longer"),
    ):
        action = add(actions, name, summary, "", f"moat-nb exclude {name} node_modules")
        action.add_argument("paths", nargs="+", metavar="PATH")
        action.add_argument(
            "--target",
            default="/workspace",
            metavar="T",
            help="the mount's target in the sandbox (default: /workspace)",
        )
        action.add_argument(
            "--objects",
            action="store_true",
            help="rewrite a mount that is a string as an object, which alone can have excludes",
        )
        action.add_argument("--dry-run", "-n", action="store_true", help="only show the change")
        add_project(action)
    action = add(actions, "list", "list each mount's excludes", "", "moat-nb exclude list --json")
    add_json(action)
    add_project(action)


def _add_schema_command(commands: Commands) -> None:
    add(
        commands,
        "schema",
        "print the JSON Schema of moat.yaml",
        "With it an editor completes the file, explains its keys and marks what is wrong.",
        "moat-nb schema > moat.schema.json",
    )


# ---------------------------------------------------------------- kernelspecs


def _add_server_commands(commands: Commands) -> None:
    for name, title in (("lab", "JupyterLab"), ("notebook", "Notebook 7")):
        parser = add(
            commands,
            name,
            f"serve the project in {title}, with the sandbox's rights alone",
            "Kernels and files are the sandbox's; there is no terminal and no extension manager.\n"
            "Ctrl-C ends it and its kernels. It needs `pip install 'moat-nb[lab]'`.",
            f"moat-nb {name} --no-browser --port 8890",
        )
        add_directory(parser)
        add_runtime(parser)
        parser.add_argument(
            "--no-browser", action="store_false", dest="browser", help="only print the address"
        )
        parser.add_argument(
            "--port", type=_port, metavar="N", help="on 127.0.0.1 (default: 8888 or the next free)"
        )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 1 to 65535")
    return int(text)


def _add_kernelspec_commands(commands: Commands) -> None:
    parser = add(
        commands,
        "install",
        "install a kernelspec for the project",
        "The kernel is then offered by every Jupyter client as `Python 3 (moat: NAME)`.\n"
        "Installing again replaces it. In a terminal its image is built at once.",
        "moat-nb install . --sys-prefix",
    )
    add_directory(parser)
    add_runtime(parser)
    parser.add_argument("--name", metavar="N", help="the kernelspec's name (default: moat-NAME)")
    parser.add_argument(
        "--trust-output",
        action="store_true",
        help="let scripts and widgets of the sandbox act in your page, with your rights there",
    )
    parser.add_argument(
        "--workspace",
        choices=("project", "notebook"),
        help="what /workspace is: the project, or the directory of each notebook, wherever that is "
        "(default: as kernel.workspace says)",
    )
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

    parser = add(
        commands,
        "uninstall",
        "remove the project's kernelspecs, or one by name",
        "Only kernelspecs that moat-nb installed are removed.",
        "moat-nb uninstall moat-myproject",
    )
    parser.add_argument(
        "which", nargs="?", default=".", metavar="DIR|NAME", help="default: the project here"
    )


# ---------------------------------------------------------------- running sandboxes


def _add_sandbox_commands(commands: Commands) -> None:
    parser = add(commands, "ps", "list your sandboxes", "", "moat-nb ps --json")
    add_json(parser)

    parser = add(
        commands,
        "logs",
        "print what a sandbox's kernels wrote to their own stdout and stderr",
        "Kept as long as the sandbox is: the last 10 to 20 MiB.",
        "moat-nb logs myproject --follow",
    )
    parser.add_argument("which", **WHICH)
    parser.add_argument("--service", **SERVICE)
    parser.add_argument("--follow", "-f", action="store_true", help="go on until it ends")

    parser = add(
        commands,
        "trace",
        "print what a sandbox asked for of the network, and what became of it",
        "Kept as long as the sandbox is: the last 2 to 4 MiB of records. A request shows when it\n"
        "has ended.",
        "moat-nb trace myproject",
    )
    parser.add_argument("which", **WHICH)
    add_json(parser)

    parser = add(
        commands,
        "changes",
        "list what changed in a sandbox's workspace since its start, the dangerous first",
        "Files that programs of the host run, setuid files and devices, links that lead out,\n"
        "executables, files that people run by hand, then the rest. What the host changed\n"
        "meanwhile is listed too; what was deleted is not.",
        "moat-nb changes myproject",
    )
    parser.add_argument("which", **WHICH)
    add_json(parser)


def _add_commands_on_a_sandbox(commands: Commands) -> None:
    parser = add(
        commands,
        "open",
        "open a server in a sandbox, one of moat.yaml's `ports`, in the browser",
        "Prints its URL. A sandbox that has one port needs no name of it.",
        "moat-nb open web",
    )
    parser.usage = "moat-nb open [-h] [--print] [[NAME|ID|DIR] PORT]"
    parser.add_argument(
        "words",
        nargs="*",
        metavar="NAME",
        help="a port of the project here, a sandbox, or a sandbox and its port",
    )
    parser.add_argument("--print", "-p", action="store_true", help="only print the URL")

    parser = add(
        commands,
        "freeze",
        "write what was installed in a sandbox to kernel.packages of its moat.yaml",
        "As `NAME==VERSION`, of the packages that were asked for: what they need follows.\n"
        "The change is shown, and saved once you agree.",
        "moat-nb freeze --yes",
    )
    parser.add_argument("which", **WHICH)
    parser.add_argument("--all", action="store_true", help="also what those packages need")
    parser.add_argument("--yes", "-y", action="store_true", help="without a question")

    parser = add(
        commands,
        "stop",
        "end a sandbox of another process",
        "The process that started it lives on, and sees that its sandbox is gone.",
        "moat-nb stop 3f9c01ab",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "which",
        nargs="?",
        metavar="NAME|ID|DIR",
        help="as `moat-nb ps` shows it; . is all of the project here",
    )
    which.add_argument("--all", action="store_true", help="all of yours, of every project")
    parser.add_argument(
        "--yes", "-y", action="store_true", help="also those of other projects without a question"
    )
