"""`moat-nb diff`, `pull` and `discard`: what sandboxes changed in the copy of a project."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from moat_nb.cli.user_terminal import asked, is_there
from moat_nb.config.reader import load
from moat_nb.errors import MoatError
from moat_nb.host.machine import Host
from moat_nb.host.run_directory import base_directory, sandbox_states
from moat_nb.sandbox.tree import Tree
from moat_nb.sandbox.workspace_copy import Difference, WorkspaceCopy
from moat_nb.text.tables import table
from moat_nb.text.terminal import printable

__all__ = ["diff", "discard", "pull"]

LONGEST = 1 << 20
"""Bytes of a file whose text is shown."""

CONFLICT = "you changed it too"


def diff(project: str, paths: Sequence[str], *, names: bool) -> int:
    copy = _copy(project)
    found = copy.differences(_below(copy, paths))
    if not found:
        print(f"the copy has what {copy.source} has")
        return 0
    print(_as_table(found))
    if not names:
        with copy.trees() as (host, inside):
            for one in found:
                for line in _texts(one, host, inside):
                    print(line)
    return 0


def pull(project: str, paths: Sequence[str], *, force: bool) -> int:
    copy = _copy(project)
    pulled = copy.pull(_below(copy, paths), force=force)
    if pulled.done:
        print(_as_table(pulled.done))
    if pulled.left:
        print(f"left in the copy:\n{_as_table(pulled.left)}", file=sys.stderr)
        print("`moat-nb diff` shows them; " + " and ".join(_ways(pulled.left)), file=sys.stderr)
    for path, why in pulled.failed:
        print(printable(f"{path}: {why}").replace("\n", " "), file=sys.stderr)
    if not (pulled.done or pulled.left or pulled.failed):
        print(f"the copy has what {copy.source} has")
    return 1 if pulled.left or pulled.failed else 0


def discard(project: str, *, yes: bool) -> int:
    copy = _copy(project)
    states = sandbox_states(base_directory(os.environ, os.getuid()))
    if any(state and Path(state.project) == copy.project for _, state in states):
        raise MoatError(f"a sandbox of {copy.project} runs; `moat-nb stop .` ends it")
    found = copy.differences()
    if found and not yes:
        if not is_there():
            raise MoatError(f"{copy.in_a_line()}; --yes removes the copy with it")
        print(_as_table(found))
        if not asked("Remove the copy with these?"):
            print("nothing was removed", file=sys.stderr)
            return 1
    copy.discard()
    print("removed the copy; the next start makes another")
    return 0


def _copy(project: str) -> WorkspaceCopy:
    host = Host.current()
    config = load(project, home=host.home)
    copy = WorkspaceCopy.of(config, host)
    if copy is None:
        why = "its sandboxes work on the project's own files"
        raise MoatError(f"{config.path}: {why}; `workspace: {{mode: volume}}` gives them a copy")
    return copy


def _below(copy: WorkspaceCopy, paths: Sequence[str]) -> Collection[str]:
    """Relative to the project, of paths as they were typed here. Raises MoatError."""
    found = []
    for path in paths:
        # Of the directory alone the links are followed: the name itself may be one.
        whole = Path(os.path.abspath(path))  # noqa: PTH100
        whole = whole.parent.resolve() / whole.name
        if whole != copy.source and not whole.is_relative_to(copy.source):
            raise MoatError(f"{path} is not in {copy.source}")
        if whole != copy.source:
            found.append(str(whole.relative_to(copy.source)))
    return found


def _as_table(found: Sequence[Difference]) -> str:
    rows = (
        (one.what, "; ".join(filter(None, (CONFLICT * one.conflict, one.danger))), one.path)
        for one in found
    )
    return table([("WHAT", "NOTE", "PATH"), *rows])


def _ways(left: Sequence[Difference]) -> Iterator[str]:
    if any(one.danger for one in left):
        yield "`moat-nb pull PATH` takes one whose path you give"
    if any(one.conflict for one in left):
        yield "--force takes the copy's in place of yours"


def _texts(one: Difference, host: Tree, inside: Tree) -> Iterator[str]:
    before, after = _lines(one.path, host), _lines(one.path, inside)
    if before is None or after is None or before == after:
        return
    name = printable(one.path).replace("\n", " ")
    for line in difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", lineterm=""):
        yield printable(line)


def _lines(path: str, tree: Tree) -> list[str] | None:
    """Of a text; none where nothing is, None for what is no short text."""
    entry = tree.entry(path)
    if entry is None:
        return []
    if entry.kind == "link":
        return [f"a link to {entry.target}"]
    if entry.kind != "file" or entry.size > LONGEST:
        return None
    try:
        with tree.reading(path) as descriptor:
            return os.read(descriptor, LONGEST).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
