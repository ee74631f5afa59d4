"""The look at the host for protected names: what of a mount must stay as it is.

It is bounded, follows no link and changes nothing. What exists is found; what does not exist is
not made for it, but watched for (``sandbox/protected_watch.py``).
"""

from __future__ import annotations

import fnmatch
import os
import posixpath
import re
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath

from moat_nb.planning.git_config import git_config, read_text
from moat_nb.planning.mounts import is_below
from moat_nb.planning.protected_names import (
    CHECKPOINTS,
    GIT_FILES,
    JUPYTER_CONFIGS,
    LAUNCH_MODULES,
    NAMES,
    VENV,
    below_any,
    is_imported,
    starts_kernels,
)

__all__ = ["MAX_DIRECTORIES", "MAX_FOUND", "Found", "Look", "is_git_directory"]

DEPTH = 3
"""Levels below a mount at which repositories, environments and editors' settings are sought."""

MAX_DIRECTORIES = 512
MAX_ENTRIES = 20_000
MAX_FOUND = 768
"""Paths of one mount, each of which becomes a mount of its own; with more a start is refused."""
MAX_INSIDE = 20_000
"""Entries looked at in a protected directory, for links."""

_LITERAL = {
    *(name.pattern.split("/", 1)[0] for name in NAMES if not name.is_glob),
    *(CHECKPOINTS, VENV),
}
_GIT_OBJECTS = re.compile(r"/objects/([0-9a-f]{2}|pack)$")
"""Not entered either: a bare repository has very many of these."""
_NOT_ENTERED = {".git", "node_modules", "__pycache__", "site-packages"}


@dataclass(kw_only=True)
class Found:
    """Host paths, each once, in the order in which they were found."""

    read_only: dict[str, None] = field(default_factory=dict)
    """Files and directories that stay as they are."""
    pinned: dict[str, None] = field(default_factory=dict)
    """Directories that stay writable, and where they are: what holds something protected could be
    renamed, and another made in its place."""
    covered: dict[str, None] = field(default_factory=dict)
    """Directories that an empty one covers."""
    refused: dict[str, str] = field(default_factory=dict)
    """What cannot be protected, and why: a start is refused for it."""
    left: dict[str, str] = field(default_factory=dict)
    """The same further down, where no program of the host looks before somebody goes there."""
    directories: dict[str, None] = field(default_factory=dict)
    """Where names were sought."""
    truncated: bool = False
    """There were more directories than are looked at."""
    full: str = ""
    """The first path beyond :data:`MAX_FOUND`: a start is refused for it."""


@dataclass(kw_only=True)
class Look:
    """One mount's. ``hidden(path)``: whether something else is mounted at a host path."""

    top: str
    extra: Sequence[str] = ()
    """Further names, relative to ``top``: ``kernel.protect``."""
    environments: Sequence[str] = ()
    """Host paths that count whatever their names are, and whose links are their own matter."""
    allowed: Sequence[str] = ()
    """``kernel.unprotect``."""
    hidden: Callable[[str], bool] = lambda path: False
    found: Found = field(default_factory=Found)

    def __call__(self, also: Iterable[str] = ()) -> Found:
        """Look at ``top``, at the directories ``also`` below it, and at what is near them."""
        seeds = list(dict.fromkeys((self.top, *also)))
        for path in (*(f"{self.top}/{name}" for name in self.extra), *self.environments):
            self._protect(path, self.top)
        pending = deque((seed, 0) for seed in seeds)
        entries = 0
        while pending:
            directory, depth = pending.popleft()
            many = len(self.found.directories) >= MAX_DIRECTORIES or entries >= MAX_ENTRIES
            if depth and many:
                self.found.truncated = True
                break
            names = _entries(directory)
            entries += len(names)
            below = self._directory(directory, names, whole=directory == self.top)
            if depth < DEPTH:
                pending.extend((path, depth + 1) for path in below if path not in seeds)
        self._prune()
        return self.found

    def _directory(self, directory: str, names: dict[str, bool], *, whole: bool) -> list[str]:
        """What it has of the names; returns the directories to look at next. ``whole``: it is the
        mount itself, which may be a repository or an environment but is not closed for that."""
        if VENV in names and not whole:
            self._protect(directory, os.path.dirname(directory))  # noqa: PTH120 - a str, often
            return []
        self.found.directories[directory] = None
        if named := read_text(f"{directory}/.git").partition("gitdir:")[2].strip():
            self._configured(posixpath.join(directory, named), directory)
        if names.get(".git"):
            self._git_directory(f"{directory}/.git", directory)
        if is_git_directory(names):  # three empty files are enough: the other names count as well
            self._git_directory(directory, None)
        imported = _imported(names) if starts_kernels(names, top=whole) else ()
        for relative in (*_present(names), *imported):
            if relative != ".git" or not names[".git"]:
                self._protect(f"{directory}/{relative}", directory)
        if CHECKPOINTS in names:
            self._checkpoints(f"{directory}/{CHECKPOINTS}")
        return [
            path
            for name, is_directory in names.items()
            if is_directory
            and name not in _NOT_ENTERED | {CHECKPOINTS}
            and (path := f"{directory}/{name}") not in self.found.read_only
            and not _GIT_OBJECTS.search(path)
            and not self.hidden(path)
        ]

    def _git_directory(self, path: str, work_tree: str | None) -> None:
        if self._is_allowed(path) or self.hidden(path):
            return
        self._pin(path)
        self.found.directories[path] = None
        for name in GIT_FILES:
            self._protect(f"{path}/{name.pattern}", path)
        self._configured(path, work_tree)
        for below in (*_git_directories(f"{path}/modules"), *_children(f"{path}/worktrees")):
            if self._has_room(below):
                self._pin_up(below, path)
                self._git_directory(below, None)

    def _configured(self, path: str, work_tree: str | None) -> None:
        """What the configs of a git directory name, which may lie outside the mount itself."""
        config = git_config(path, work_tree)
        for named in (*config.hooks, *config.included):
            self._protect(named, self.top)

    def _checkpoints(self, path: str) -> None:
        if self._is_allowed(path) or self.hidden(path):
            return
        if stat.S_ISDIR(_mode(path)):
            self.found.covered[path] = None
        else:
            what = "is no directory, and a Jupyter server would write through a link"
            self.found.refused[path] = what

    def _refuse(self, path: str, why: str) -> None:
        first = posixpath.relpath(path, self.top).split("/", 1)[0]
        near = first in _LITERAL | {name.split("/", 1)[0] for name in self.extra}
        near = near or path in self.environments
        (self.found.refused if near else self.found.left)[path] = why

    def _protect(self, path: str, holder: str) -> None:
        """Keep ``path`` as it is, if it is there; directories above it below ``holder`` stay."""
        if not is_below(path, self.top) or self._is_allowed(path) or self.hidden(path):
            return
        if not self._is_plain(path):
            return
        try:
            status = os.lstat(path)
        except OSError:
            return
        if stat.S_ISDIR(status.st_mode):
            self._inside(path)
        elif not stat.S_ISREG(status.st_mode):
            self._refuse(path, "is neither a file nor a directory")
            return
        elif status.st_nlink > 1:
            self._refuse(path, "has another name (a hard link), by which it can be written")
            return
        if self._has_room(path):
            self._pin_up(path, holder)
            self.found.read_only[path] = None

    def _has_room(self, path: str) -> bool:
        if len(self.found.read_only) + len(self.found.pinned) < MAX_FOUND:
            return True
        self.found.full = self.found.full or path
        return False

    def _is_plain(self, path: str) -> bool:
        """That no component of it is a link; the first one that is cannot be protected."""
        parts = PurePosixPath(path).relative_to(self.top).parts
        for length in range(1, len(parts) + 1):
            step = posixpath.join(self.top, *parts[:length])
            if stat.S_ISLNK(_mode(step)):
                self._refuse(step, "is a symbolic link, which can be replaced")
                return False
        return True

    def _inside(self, directory: str) -> None:
        """A hook that is a link to a script of the project's: the script counts too. A file with a
        second name could be written by that."""
        if directory in self.environments or os.path.lexists(f"{directory}/{VENV}"):
            return  # links to the host's python, and hard links to a cache of packages
        for count, (path, is_link, links) in enumerate(_walk(directory)):
            if count == MAX_INSIDE:
                why = f"has more than {MAX_INSIDE} entries, and links among the others are not seen"
                self.found.left[directory] = why
                return
            if is_link:
                target = os.path.realpath(path)
                if is_below(target, self.top) and not is_below(target, directory):
                    self._protect(target, self.top)
            elif links > 1 and not self._is_allowed(path):
                self._refuse(path, "has another name (a hard link), by which it can be written")

    def _pin(self, path: str) -> None:
        if path != self.top:
            self.found.pinned[path] = None

    def _pin_up(self, path: str, holder: str) -> None:
        """The directories strictly between the two."""
        for parent in PurePosixPath(path).parents:
            if not is_below(str(parent), holder):
                break
            self._pin(str(parent))

    def _is_allowed(self, path: str) -> bool:
        relative = posixpath.relpath(path, self.top)
        return is_below(path, self.top) and below_any(relative, self.allowed)

    def _prune(self) -> None:
        """Without what lies in a directory that is read-only as a whole."""
        whole = self.found.read_only
        for kept in (self.found.read_only, self.found.pinned, self.found.covered):
            for path in list(kept):
                if any(str(parent) in whole for parent in PurePosixPath(path).parents):
                    del kept[path]
        for path in whole:
            self.found.pinned.pop(path, None)
        for name in self.allowed:
            path = f"{self.top}/{name}"
            inside = any(str(parent) in whole for parent in PurePosixPath(path).parents)
            if inside and self._is_plain(path) and os.path.lexists(path):
                self._pin(path)  # writable by a mount of its own


def is_git_directory(names: Iterable[str]) -> bool:
    """Whether git takes a directory with these entries for a repository's own, as a bare one."""
    return {"HEAD", "objects", "refs"} <= set(names)


def _present(names: dict[str, bool]) -> Iterator[str]:
    """The patterns of NAMES that a directory with these entries may have, globs spelt out."""
    for name in sorted(NAMES, key=lambda name: name.is_glob):
        if not name.is_glob:
            if name.pattern.split("/", 1)[0] in names:
                yield name.pattern
            continue
        for there in fnmatch.filter(names, name.pattern):
            if not name.pattern.startswith("jupyter_") or JUPYTER_CONFIGS.fullmatch(there):
                yield there


def _imported(names: dict[str, bool]) -> Iterator[str]:
    """What a kernel that is started in a directory with these entries imports from there."""
    yield from filter(is_imported, names)
    yield from (f"{name}/__init__.py" for name in LAUNCH_MODULES & names.keys() if names[name])


def _entries(directory: str) -> dict[str, bool]:
    """Names, and whether each is a directory; nothing where it cannot be read. Of a directory with
    very many the first, and those that matter."""
    with suppress(OSError), os.scandir(directory) as entries:
        first = islice(entries, MAX_ENTRIES)
        found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in first}
        if len(found) == MAX_ENTRIES:
            for name in _LITERAL:
                if mode := _mode(f"{directory}/{name}"):
                    found[name] = stat.S_ISDIR(mode)
        return found
    return {}


def _children(directory: str) -> list[str]:
    if not stat.S_ISDIR(_mode(directory)):
        return []
    return [f"{directory}/{name}" for name, is_dir in sorted(_entries(directory).items()) if is_dir]


def _git_directories(directory: str, depth: int = 4) -> Iterator[str]:
    """Those of submodules, whose names may have several parts."""
    for path in _children(directory):
        if is_git_directory(_entries(path)):
            yield path
        elif depth > 1:
            yield from _git_directories(path, depth - 1)


def _walk(directory: str) -> Iterator[tuple[str, bool, int]]:
    """Of each entry below: path, whether it is a link, and the number of a file's names."""
    pending = [directory]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    with suppress(OSError):
                        links = entry.stat(follow_symlinks=False).st_nlink
                        yield entry.path, entry.is_symlink(), links


def _mode(path: str) -> int:
    with suppress(OSError):
        return os.lstat(path).st_mode
    return 0
