"""What changed in the workspace since a sandbox's start, the dangerous first.

A file's ctime says when it was last changed; a sandbox cannot set it, unlike mtime. So nothing is
recorded at the start but its time. What is deleted leaves no trace, and what the host changed
meanwhile is listed too.

A rename changes the ctime of what is renamed and of nothing below it, so a directory is taken for
one that has come to its place: see ``_Moved``.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from moat_nb.planning.protected_names import (
    CHECKPOINTS,
    LAUNCH,
    below_any,
    is_init,
    is_suspect,
    reason,
    starts_kernels,
)
from moat_nb.planning.walk import Budget, Over, walk
from moat_nb.sandbox.saved_widgets import SAVED_WIDGETS, brings_widgets
from moat_nb.text.tables import table
from moat_nb.text.terminal import one_line

__all__ = ["Change", "Changes", "changes", "changes_as_text", "in_a_line", "judged"]

DANGEROUS = 4
"""Ranks below it are told of at a sandbox's end."""

KEPT = 10_000
NAMED = 5
"""In the line at the end."""

SHOWN = 100
"""Ordinary changes that are listed one by one."""

RANKS = (
    "host programs run it",
    "setuid",
    "device",
    "leads out",
    "executable",
    "run by hand",
    "changed",
)

ORDINARY = len(RANKS) - 1

BY_HAND = {
    *("Makefile", "makefile", "GNUmakefile", "justfile", "Rakefile", "CMakeLists.txt"),
    *("setup.py", "setup.cfg", "pyproject.toml", "conftest.py", "noxfile.py", "tox.ini"),
    *("sitecustomize.py", "usercustomize.py", "package.json", "Dockerfile", "Jenkinsfile"),
    *("docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml", ".env"),
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """``path`` is the host's and comes from a sandbox: it may hold anything but NUL."""

    path: str
    rank: int
    """Index of :data:`RANKS`."""
    why: str = ""

    @property
    def is_dangerous(self) -> bool:
        return self.rank < DANGEROUS


@dataclass(frozen=True, kw_only=True)
class Changes:
    found: tuple[Change, ...]
    """The dangerous first, and by path."""
    complete: bool
    """False when there was more than the walk's bounds allow."""

    @property
    def dangerous(self) -> tuple[Change, ...]:
        return tuple(change for change in self.found if change.is_dangerous)


def changes(
    tops: Sequence[str],
    since: float,
    *,
    names: Sequence[str] = (),
    apart: Collection[str] = (),
    made: Collection[tuple[int, int]] = (),
    held: Collection[str] = (),
    budget: Budget | None = None,
) -> Changes:
    """What has a ctime after ``since`` (seconds since the epoch) below the directories ``tops``.

    The clock of ctimes may be 10 ms behind, so what is changed in as much time after ``since`` is
    not found: before a sandbox's first program runs.

    ``names``: protected ones of the project's own. ``apart``: host paths that the sandbox does not
    see. ``made``: device and inode of what the start itself made. ``held``: host paths that it
    could not rename. No link is followed.
    """
    budget = budget or Budget()
    found: dict[str, Change] = {}
    look = _Look(
        after=int(since * 1e9),
        names=names,
        apart=frozenset(apart),
        made=frozenset(made),
        held=frozenset(held),
    )
    with suppress(Over):
        for top in tops:
            for change in look.below(top, budget):
                found[change.path] = change
                if len(found) > KEPT:
                    budget.over = True
                    raise Over
    ordered = sorted(found.values(), key=lambda change: (change.rank, change.path))
    return Changes(found=tuple(ordered), complete=not budget.over)


@dataclass(frozen=True, kw_only=True)
class _Look:
    """See :func:`changes`."""

    after: int
    names: Sequence[str]
    apart: frozenset[str]
    made: frozenset[tuple[int, int]]
    held: frozenset[str]

    def below(self, top: str, budget: Budget) -> Iterator[Change]:
        try:
            descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return
        moved = _Moved()
        try:
            for relative, entry, parent in walk(
                descriptor, budget, lambda path: posixpath.join(top, path) not in self.apart
            ):
                with suppress(OSError):  # gone again
                    status = entry.stat(follow_symlinks=False)
                    path = posixpath.join(top, relative)
                    by_its_parents = moved.at(relative)
                    is_new = status.st_ctime_ns > self.after and not self._is_ours(status)
                    if is_new and stat.S_ISDIR(status.st_mode) and path not in self.held:
                        moved.enter(relative, certain=status.st_mtime_ns <= self.after)
                    if path in self.apart or not (is_new or by_its_parents):
                        continue
                    target = os.readlink(entry.name, dir_fd=parent) if entry.is_symlink() else ""
                    rank, why = judged(relative, parent, status.st_mode, target, self.names)
                    if rank is None or not (
                        is_new or by_its_parents == "certainly" or _by_place(rank, target)
                    ):
                        continue
                    yield Change(path=path, rank=rank, why=why)
        finally:
            os.close(descriptor)

    def _is_ours(self, status: os.stat_result) -> bool:
        return (status.st_dev, status.st_ino) in self.made


class _Moved:
    """Directories above an entry that may have been renamed since the start, in a walk's order.

    A directory's ctime is new as well when an entry of it was made or removed. That sets its mtime
    too, so one whose mtime is old was renamed (or had its mode changed) and all below it counts.
    A sandbox can set the mtime, or make a file there after the rename. So below any other new
    directory what is dangerous where it stands counts, however old it is; ordinary files would be
    listed for nothing.
    """

    def __init__(self) -> None:
        self._above: list[tuple[str, bool]] = []

    def at(self, relative: str) -> Literal["perhaps", "certainly", ""]:
        """How far the entry at ``relative`` counts for a directory above it."""
        while self._above and not relative.startswith(self._above[-1][0]):
            self._above.pop()
        if not self._above:
            return ""
        return "certainly" if any(certain for _, certain in self._above) else "perhaps"

    def enter(self, relative: str, *, certain: bool) -> None:
        self._above.append((f"{relative}/", certain))


def _by_place(rank: int, target: str) -> bool:
    """Whether a rename alone can make it dangerous; else it was so, and told, where it was."""
    return rank == 0 or (RANKS[rank] == "leads out" and not target.startswith("/"))


def judged(
    relative: str, parent: int, mode: int, target: str, names: Sequence[str] = ()
) -> tuple[int | None, str]:
    """The rank of what stands at ``relative``, an entry of the directory open as ``parent``, or
    None for what is not worth a line; and why. ``mode`` is its ``st_mode``, ``target`` a link's.
    Raises OSError."""
    rank, why = _judge(relative, mode, target, names)
    if why == LAUNCH and not _starts_kernels(relative, parent):
        return ORDINARY, ""
    if rank == ORDINARY and _is_notebook(relative, mode):
        return _judge_notebook(posixpath.basename(relative), parent)
    return rank, why


def _judge(relative: str, mode: int, target: str, names: Sequence[str]) -> tuple[int | None, str]:
    """The rank, or None for what is not worth a line; and why."""
    name = posixpath.basename(relative)
    if stat.S_ISDIR(mode) and (name == ".git" or not is_suspect(name)):
        return None, ""
    if below_any(relative, names):
        return 0, "kernel.protect"
    parts = relative.split("/")
    if CHECKPOINTS in parts:
        return _judge_checkpoint(parts, mode)
    if any(map(is_suspect, parts)) and (by := _by(parts)):
        return 0, by
    if stat.S_ISDIR(mode):
        return None, ""
    if mode & (stat.S_ISUID | stat.S_ISGID) and stat.S_ISREG(mode):
        return 1, f"mode {stat.S_IMODE(mode):o}"
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        return 2, "no file: a program that reads it may hang"
    if stat.S_ISLNK(mode):
        return (3, f"a link to {target}") if leads_out(relative, target) else (6, "")
    if mode & 0o111:
        return 4, ""
    if parts[-1] in BY_HAND or parts[-1].endswith(".pth"):
        return 5, ""
    return (None, "") if ".git" in parts[:-1] else (6, "")


def _judge_checkpoint(parts: list[str], mode: int) -> tuple[int | None, str]:
    """Jupyter's servers make these directories, and write through links that they find there."""
    if stat.S_ISDIR(mode):
        return None, ""
    plain = stat.S_ISREG(mode) and parts[-1] != CHECKPOINTS
    return (ORDINARY, "") if plain else (0, reason(CHECKPOINTS))


def _is_notebook(relative: str, mode: int) -> bool:
    return relative.endswith(".ipynb") and stat.S_ISREG(mode)


def _judge_notebook(name: str, parent: int) -> tuple[int, str]:
    return (0, SAVED_WIDGETS) if brings_widgets(name, parent) else (ORDINARY, "")


def _starts_kernels(relative: str, parent: int) -> bool:
    """Whether a kernel may be started where ``relative``, an entry of ``parent``, is imported."""
    *above, name = relative.split("/")
    where = "."
    if is_init(name):
        above.pop()
        where = ".."
    # Opened anew: the walk reads through the parent's own descriptor.
    there = os.open(where, os.O_RDONLY | os.O_DIRECTORY, dir_fd=parent)
    try:
        return starts_kernels(os.listdir(there), top=not above)  # noqa: PTH208 - a descriptor
    finally:
        os.close(there)


def _by(parts: list[str]) -> str:
    """Who runs it, or the directory that it is in."""
    prefixes = (parts[:length] for length in range(len(parts), 0, -1))
    # Of what is in .git itself reason() knows what counts.
    inside = len(parts) - 1
    found = (reason("/".join(p)) for p in prefixes if p[-1] != ".git" or len(p) > inside)
    return next(filter(None, found), "")


def leads_out(relative: str, target: str) -> bool:
    """Whether a link at ``relative`` may lead out of its mount, by its words alone."""
    names = [part for part in target.split("/") if part not in ("", ".")]
    down = next((i for i, part in enumerate(names) if part != ".."), len(names))
    if target.startswith("/") or ".." in names[down:]:
        return True  # a name before `..` may be another link
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(relative), target))
    return inside == ".." or inside.startswith("../")


def changes_as_text(found: Changes) -> str:
    """For a terminal; paths are made harmless."""
    special = [change for change in found.found if change.rank < ORDINARY]
    ordinary = [change for change in found.found if change.rank == ORDINARY]
    shown = [*special, *ordinary[:SHOWN]]
    rows = [(RANKS[change.rank], _words(change)) for change in shown]
    lines = [table([("WHAT", "PATH"), *rows])] if rows else ["nothing changed"]
    if len(ordinary) > SHOWN:
        lines.append(f"and {len(ordinary) - SHOWN} more; --json has all")
    if not found.complete:
        lines.append("there is more than was looked at")
    return "\n".join(lines)


def _words(change: Change) -> str:
    return f"{change.path} ({change.why})" if change.why else change.path


def in_a_line(found: Changes) -> str | None:
    """What a sandbox's end says; None when nothing is dangerous."""
    dangerous = found.dangerous
    if not dangerous:
        return None
    named = [f"{change.path} ({RANKS[change.rank]})" for change in dangerous[:NAMED]]
    first = ", ".join(one_line(words)[:200] for words in named)
    more = f", and {len(dangerous) - NAMED} more" if len(dangerous) > NAMED else ""
    return f"changed since the sandbox's start: {first}{more}; look before you work there"
