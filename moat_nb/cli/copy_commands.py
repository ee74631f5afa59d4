"""The commands about the copy of a project, and their help."""

from __future__ import annotations

import argparse

from moat_nb.cli.options import Commands, add, add_project, add_runtime

__all__ = ["add_copy_commands"]


def add_copy_commands(commands: Commands) -> None:
    parser = add(
        commands,
        "diff",
        "show what sandboxes changed in the copy of a project (workspace.mode: volume)",
        "What a host program would run, a link that leads out, and what you changed too are said\n"
        "to be so. Texts are shown as they differ; nothing is written.",
        "moat-nb diff src",
    )
    _add_copy_paths(parser)
    parser.add_argument("--names", action="store_true", help="only which paths, and how")

    parser = add(
        commands,
        "pull",
        "bring what sandboxes changed in the copy back into the project",
        "What a host program would run, and a link that leads out, only by its own path; what\n"
        "you changed too only with --force; a repository that both changed only by both.",
        "moat-nb pull results",
    )
    _add_copy_paths(parser)
    parser.add_argument("--force", action="store_true", help="also over what you changed yourself")

    parser = add(
        commands,
        "discard",
        "remove the copy of a project with all that sandboxes changed in it",
        "The next start copies the project anew.",
        "moat-nb discard --yes",
    )
    add_project(parser)
    add_runtime(parser)
    parser.add_argument("--yes", "-y", action="store_true", help="without a question")


def _add_copy_paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", metavar="PATH", help="of the project (default: all)")
    add_project(parser)
    add_runtime(parser)
