"""`moat-nb diff`, `pull` and `discard`: what sandboxes changed in the copy of a project."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from moat_nb.cli.user_terminal import asked, is_there
from moat_nb.config.model import WORKSPACE, Config
from moat_nb.config.reader import load
from moat_nb.errors import MoatError
from moat_nb.host.machine import Host
from moat_nb.host.run_directory import base_directory, sandbox_states
from moat_nb.planning.mounts import is_within
from moat_nb.runtimes.registry import choose
from moat_nb.sandbox.approval import demands
from moat_nb.sandbox.comparison import GIT
from moat_nb.sandbox.project import plan_project
from moat_nb.sandbox.tree import Tree
from moat_nb.sandbox.workspace_copy import Difference, WorkspaceCopy
from moat_nb.sandbox.workspace_elsewhere import WorkspaceElsewhere, copies_elsewhere
from moat_nb.text.progress import for_user
from moat_nb.text.tables import table
from moat_nb.text.terminal import printable

__all__ = ["diff", "discard", "pull"]

LONGEST = 1 << 20
"""Bytes of a file whose text is shown."""

SHOWN, MAX_LINES = 1000, 20_000
"""Paths, and lines of their texts, that are shown."""

DIFF_SECONDS = 10.0

CONFLICT = "you changed it too"


def diff(project: str, paths: Sequence[str], runtime: str | None = None, *, names: bool) -> int:
    copy = _copy(project, runtime)
    found = copy.differences(_below(copy, paths))
    if not found:
        print(_nothing(copy, paths))
        return 0
    print(_as_table(found))
    left = MAX_LINES
    with copy.trees() as (host, inside):
        for one in () if names else found[:SHOWN]:
            for line in _texts(one, host, inside):
                if (left := left - 1) < 0:
                    print(f"(more than {MAX_LINES} lines; `moat-nb diff PATH` shows some)")
                    return 0
                print(line)
    return 0


def pull(project: str, paths: Sequence[str], runtime: str | None = None, *, force: bool) -> int:
    copy = _copy(project, runtime)
    mask = os.umask(0o077)
    os.umask(mask)
    pulled = copy.pull(_below(copy, paths), force=force, mask=mask)
    if pulled.done:
        print(_as_table(pulled.done))
    if pulled.left:
        print(f"left in the copy:\n{_as_table(pulled.left)}", file=sys.stderr)
        print("; ".join(("`moat-nb diff` shows them", *_ways(pulled.left))), file=sys.stderr)
    for path, why in pulled.failed[:SHOWN]:
        print(_one_line(f"{path}: {why}"), file=sys.stderr)
    if not (pulled.done or pulled.left or pulled.failed):
        print(_nothing(copy, paths))
    return 1 if pulled.left or pulled.failed else 0


def discard(project: str, runtime: str | None = None, *, yes: bool) -> int:
    copy, elsewhere = _copies(project, runtime)
    if not copy.tree.is_dir():
        print(_nothing(copy, ()))
        return 0
    if _in_use(copy) or (elsewhere is not None and elsewhere.in_use):
        raise MoatError(
            f"a sandbox works on the copy of {copy.source}; `moat-nb stop --all` ends it"
        )
    if not yes and (lost := _lost(copy, elsewhere)):
        if not is_there():
            raise MoatError(f"{lost.splitlines()[0]}; --yes removes the copy with it")
        if not asked(f"{lost}\nRemove the copy with this?"):
            print("nothing was removed", file=sys.stderr)
            return 1
    (elsewhere or copy).discard()
    print("removed the copy; the next start makes another")
    return 0


def _nothing(copy: WorkspaceCopy, paths: Sequence[str]) -> str:
    if not copy.is_there:
        return f"there is no copy of {copy.source} yet; the first start makes it"
    return f"the copy has what {copy.source} has" + (f" of {', '.join(paths)}" if paths else "")


def _lost(copy: WorkspaceCopy, elsewhere: WorkspaceElsewhere | None) -> str:
    """What would be lost, in a line and then each; empty when nothing would."""
    try:
        if elsewhere is not None and (words := elsewhere.fetch()):
            return "; ".join(words)
        found = copy.differences()
    except MoatError as error:  # as a sandbox has left it
        return f"what sandboxes changed in the copy cannot be told: {error}"
    return f"{copy.in_a_line(found)}\n{_as_table(found)}" if found else ""


def _copy(project: str, runtime: str | None) -> WorkspaceCopy:
    """As it is now, wherever it is."""
    copy, elsewhere = _copies(project, runtime)
    if elsewhere is not None:
        progress = for_user()
        try:
            told = elsewhere.fetch(progress)
        finally:
            progress.close()
        for words in told:
            print(words, file=sys.stderr)
    return copy


def _copies(project: str, runtime: str | None) -> tuple[WorkspaceCopy, WorkspaceElsewhere | None]:
    host = Host.current()
    config = load(project, home=host.home)
    chosen, _ = choose(runtime, config, host, os.environ, ask=_is_approved(config, runtime))
    copy = WorkspaceCopy.of(config, host, chosen.capabilities.elsewhere, anyway=True)
    if copy is None:
        (source,) = (mount.source for mount in config.mounts if mount.target == WORKSPACE)
        if where := copies_elsewhere(Path(os.path.realpath(source)), host):
            known = f"DOCKER_HOST={where[0]}, or the context that says so, shows it"
            raise MoatError(f"{config.path}: there is a copy at {' and at '.join(where)}; {known}")
        why = "its sandboxes work on the project's own files"
        raise MoatError(f"{config.path}: {why}; `workspace: {{mode: volume}}` gives them a copy")
    return copy, WorkspaceElsewhere.of(copy, chosen)


def _is_approved(config: Config, runtime: str | None) -> bool:
    """Whether the file, which may have changed since a start made the copy, asks no more than was
    approved: another program on the same machine is more."""
    return config.kernel.names_machine and not demands(plan_project(config, runtime))


def _in_use(copy: WorkspaceCopy) -> bool:
    states = sandbox_states(base_directory(os.environ, os.getuid()))
    return any(state and state.copy == str(copy.tree) for _, state in states)


def _below(copy: WorkspaceCopy, paths: Sequence[str]) -> Collection[str]:
    """Relative to the project, of paths as they were typed here; none for all of it. Raises
    MoatError."""
    found: list[str] = []
    everything = False
    for path in paths:
        # Of the directory alone the links are followed: the name itself may be one.
        whole = Path(os.path.abspath(path))  # noqa: PTH100
        whole = whole.parent.resolve() / whole.name
        if whole == copy.source:
            everything = True
        elif whole.is_relative_to(copy.source):
            found.append(str(whole.relative_to(copy.source)))
        else:
            raise MoatError(f"{path} is not in {copy.source}")
    if everything and found:
        raise MoatError("name the project or some of its paths, not both")
    if found and copy.is_there:
        with copy.trees() as trees:
            for path in found:
                if not any(tree.entry(path) for tree in trees):
                    raise MoatError(f"{path}: neither {copy.source} nor its copy has it")
    return found


def _as_table(found: Sequence[Difference]) -> str:
    rows = [
        (one.what, "; ".join(filter(None, (CONFLICT * one.conflict, one.danger))), one.path)
        for one in found[:SHOWN]
    ]
    more = f"\nand {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return table([("WHAT", "NOTE", "PATH"), *rows]) + more if rows else ""


def _ways(left: Sequence[Difference]) -> Iterator[str]:
    if any(one.danger for one in left):
        yield "`moat-nb pull PATH` takes one whose path you give"
    if any(one.conflict and not is_within(one.path, GIT) for one in left):
        yield "--force takes the copy's in place of yours"
    if any(one.conflict and is_within(one.path, GIT) for one in left):
        yield "both changed the repository, and `moat-nb pull --force .git` takes the copy's whole"


def _texts(one: Difference, host: Tree, inside: Tree) -> Iterator[str]:
    """How a text differs, by the program `diff`, which is quick whatever stands in it."""
    before, after = _text(one.path, host), _text(one.path, inside)
    if before is None or after is None or before == after:
        return
    with tempfile.TemporaryDirectory(prefix="moat-nb-") as directory:
        names = []
        for name, text in (("a", before), ("b", after)):
            names.append(Path(directory, name))
            names[-1].write_bytes(text)
        labels = [word for side in "ab" for word in ("--label", f"{side}/{_one_line(one.path)}")]
        words = ["diff", "-u", "--text", *labels, *map(str, names)]
        try:
            done = subprocess.run(
                words, capture_output=True, check=False, timeout=DIFF_SECONDS, env={"LC_ALL": "C"}
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            yield f"{_one_line(one.path)}: its text is not shown ({type(error).__name__})"
            return
    for line in done.stdout.decode(errors="replace").removesuffix("\n").split("\n"):
        yield _one_line(line)


def _text(path: str, tree: Tree) -> bytes | None:
    """Of a file; none where nothing is, None for what is no short text."""
    entry = tree.entry(path)
    if entry is None:
        return b""
    if entry.kind == "link":
        return os.fsencode(f"a link to {entry.target}\n")
    if entry.kind != "file" or entry.size > LONGEST:
        return None
    try:
        with tree.reading(path) as descriptor:
            text = os.read(descriptor, LONGEST)
            text.decode()
    except (OSError, UnicodeDecodeError):
        return None
    return text if text.endswith(b"\n") or not text else text + b"\n"


def _one_line(text: str) -> str:
    return printable(text.replace("\r", "\x00")).replace("\n", " ")
