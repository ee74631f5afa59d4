"""What commands have in common: how one is added, and the options that several have."""

from __future__ import annotations

import argparse
from typing import Any, TypeAlias

__all__ = [
    "DIRECTORY",
    "DOCKERFILE",
    "MANIFEST",
    "MOUNT",
    "RUNTIME",
    "SERVICE",
    "WHICH",
    "Commands",
    "add",
    "add_directory",
    "add_json",
    "add_project",
    "add_runtime",
]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

# The words that the magics' options have too.
DIRECTORY: dict[str, Any] = {
    "nargs": "?",
    "default": ".",
    "metavar": "DIR",
    "help": "where moat.yaml is sought, and upward from there (default: here)",
}
RUNTIME: dict[str, Any] = {
    "metavar": "R",
    "help": "docker, podman, bubblewrap, apple, kubernetes, or ssh://HOST or slurm for bubblewrap "
    "there (default: the file's, else what answers here)",
}
SERVICE: dict[str, Any] = {
    "metavar": "S",
    "help": "what its service S printed, instead of its kernels",
}
WHICH: dict[str, Any] = {
    "nargs": "?",
    "metavar": "NAME|ID|DIR",
    "help": "default: the newest of the project here",
}
MOUNT: dict[str, Any] = {
    "action": "append",
    "default": [],
    "metavar": "S:T[:ro]",
    "help": "show host path S at T as well; may be repeated",
}
MANIFEST: dict[str, Any] = {
    "action": "store_true",
    "help": "print the runtime's own words as YAML: of kubernetes the Pod",
}
DOCKERFILE: dict[str, Any] = {"action": "store_true", "help": "print the image's Dockerfile"}


def add(
    commands: Commands, name: str, summary: str, detail: str, example: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n\n{detail}".rstrip(),
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", **DIRECTORY)


def add_runtime(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runtime", **RUNTIME)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def add_project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--project",
        default=".",
        metavar="DIR",
        help="where moat.yaml is sought, and upward from there (default: here)",
    )
