"""The watch over protected names while a sandbox runs, on the launcher's side.

What did not exist at the start is not protected, and a file that the host replaces (an editor that
saves by a rename, `git config`) is protected no longer: its mount goes with the file that it stood
on. Neither can be hindered from here, so the user is told at once.

A look costs an ``lstat`` for each protected path and each watched directory; entries are read only
where a directory's ctime moved, which a sandbox cannot set.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from moat_nb.planning.protected_names import (
    CHECKPOINTS,
    LAUNCH,
    LITERALS,
    below_any,
    is_init,
    is_suspect,
    reason,
    starts_kernels,
)
from moat_nb.text.terminal import LOGGER, one_line

__all__ = ["PROTECTED", "SECONDS", "ProtectedWatch"]

PROTECTED = ("protected_made", "protected_lost", "protected_changed", "protected_full")
"""The kinds of what is told."""

SECONDS = 1.0
"""Between two looks."""

MAX_DIRECTORIES = 1024
MAX_ENTRIES = 20_000
"""Read of one directory at one look."""

MAX_TOLD = 1000
"""Names of which it is told that they were made."""

TICK_NANOSECONDS = 20_000_000
"""Two of a kernel's longest ticks."""

DEPTH = 6
"""Levels below a mount to which directories that are made later are watched."""

_IN_GIT = {"modules", "worktrees", "info"}
"""What is looked into of a ``.git``."""

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

Tell = Callable[[str, str], None]


@dataclass(kw_only=True)
class _Directory:
    relative: str
    """To its mount; ``""`` for the mount itself."""
    identity: tuple[int, int]
    changed: int
    """Its ctime, in nanoseconds, when it was last read."""
    suspects: set[str] = field(default_factory=set)
    below: set[str] = field(default_factory=set)
    """The directories in it that are known, watched or not."""
    starts_kernels: bool = True
    """Whether a module there may be imported by a kernel's start."""


class ProtectedWatch:
    """``tell(kind, words)``: ``protected_made`` for a name that appeared, ``protected_lost`` for
    one that was replaced or moved, ``protected_changed`` for a change of such a one,
    ``protected_full``, once, where there are more directories than are watched."""

    def __init__(
        self,
        tops: Sequence[str],
        directories: Sequence[str],
        protected: Sequence[str],
        tell: Tell,
        allowed: Sequence[str] = (),
    ) -> None:
        """``directories`` lie at or below ``tops``, the mounts' sources. ``allowed``:
        ``kernel.unprotect``, of whose names nothing is told."""
        self._allowed = allowed
        self._tell = tell
        self._directories: dict[str, _Directory] = {}
        self._told: set[str] = set()
        self._unwatched = ""
        self._full_told = False
        self._forgotten = False
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        for path in directories:
            above = [top for top in tops if f"{path}/".startswith(f"{top}/")]
            relative = os.path.relpath(path, max(above, key=len)) if above else "."
            self._add(path, "" if relative == "." else relative)
        self._protected = {path: _identity(path) for path in protected}
        self._lost: dict[str, tuple[int, ...] | None] = {}

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="moat-protected", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look once more, and end; what was made last is told, too."""
        self._end.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._end.wait(SECONDS)
            try:
                self.look()
            except Exception:
                # The watch must outlive whatever a sandbox puts in its way.
                LOGGER.warning("moat: the look for protected names failed", exc_info=True)

    def look(self) -> None:
        """Tell what has happened since the last look."""
        self._look_at_all()
        if self._forgotten:
            self._look_at_all()  # what stands in the place of these
        for path, identity in list(self._protected.items()):
            if _identity(path)[:2] != identity[:2]:
                del self._protected[path]
                self._lost[path] = _identity(path)
                self._say("protected_lost", path, "was replaced or moved since the start")
        for path, state in list(self._lost.items()):
            if _identity(path) != state:
                del self._lost[path]
                self._say("protected_changed", path, "changed after it was replaced or moved")
        if self._unwatched and not self._full_told:
            self._full_told = True
            self._say("protected_full", self._unwatched, "is not watched")

    def _look_at_all(self) -> None:
        self._forgotten = False
        for path, known in list(self._directories.items()):
            if self._directories.get(path) is known:
                self._look_at(path, known)

    def _say(self, kind: str, path: str, what: str) -> None:
        hint = {
            "protected_made": "if you did not make it, remove it before you work there",
            "protected_lost": "a sandbox can change it now; start the sandbox anew to protect it",
            "protected_changed": "if you did not change it, look at it before you work there",
            "protected_full": f"{MAX_DIRECTORIES} directories are, and {MAX_TOLD} names are told; "
            "`moat-nb changes` lists what else programs of the host run or obey",
        }[kind]
        self._tell(kind, one_line(f"{path} {what}; {hint}"))

    def _add(self, path: str, relative: str) -> _Directory | None:
        if path in self._directories:
            return None
        if len(self._directories) >= MAX_DIRECTORIES:
            self._unwatched = self._unwatched or path
            return None
        try:
            descriptor = os.open(path, _OPEN)
        except OSError:
            # Looked at again: what cannot be read for now, a sandbox can make readable.
            if identity := _identity(path):
                device, inode, _ = identity
                known = _Directory(relative=relative, identity=(device, inode), changed=-1)
                self._directories[path] = known
            return None
        try:
            status = os.fstat(descriptor)
            known = _Directory(
                relative=relative,
                identity=(status.st_dev, status.st_ino),
                changed=_changed(status),
            )
            for name, is_directory in _entries(descriptor):
                if is_directory:
                    known.below.add(name)
                if is_suspect(name):
                    known.suspects.add(name)
        finally:
            os.close(descriptor)
        self._directories[path] = known
        return known

    def _look_at(self, path: str, known: _Directory) -> None:
        if _identity(path) == (*known.identity, known.changed):
            return
        try:
            descriptor = os.open(path, _OPEN)
        except OSError:
            # Gone, or a link by now: what was protected in it is told by itself.
            self._forget(path, known)
            return
        try:
            status = os.fstat(descriptor)
            if (status.st_dev, status.st_ino) != known.identity:
                self._forget(path, known)
                return
            # Taken before the entries are read: what is made meanwhile is read at the next look.
            known.changed = _changed(status)
            found = list(_entries(descriptor))
        finally:
            os.close(descriptor)
        names = {name for name, _ in found}
        known.starts_kernels = starts_kernels(names, top=not known.relative)
        for name, is_directory in found:
            self._look_at_entry(path, known, name, is_directory)
        known.suspects &= names
        known.below &= names

    def _forget(self, path: str, known: _Directory) -> None:
        """One that is gone or replaced makes room; what stands there was made, for the one above.
        Only what cannot be read for now is kept, as is what has none above: a mount itself."""
        above = self._directories.get(os.path.dirname(path))  # noqa: PTH120 - as below
        if above is None or _identity(path)[:2] == known.identity:
            return
        for gone in [one for one in self._directories if f"{one}/".startswith(f"{path}/")]:
            del self._directories[gone]
        above.below.discard(os.path.basename(path))  # noqa: PTH119 - as below
        above.changed = -1
        self._forgotten = True

    def _look_at_entry(self, path: str, known: _Directory, name: str, is_directory: bool) -> None:
        relative = f"{known.relative}/{name}".lstrip("/")
        if below_any(relative, self._allowed):
            return
        inside = os.path.join(path, name)  # noqa: PTH118 - many, each second
        if known.relative.endswith(CHECKPOINTS) and _is_link(inside):
            self._made(inside, "Jupyter's servers write there when a notebook is saved")
        if name == CHECKPOINTS and not is_directory:
            self._made(inside, reason(relative))  # also where a directory was before
        elif is_suspect(name) and name not in known.suspects:
            why = reason(relative)
            if why == LAUNCH and not self._starts_kernels(path, known, name):
                return  # looked at again: a notebook may come there
            known.suspects.add(name)
            if name != CHECKPOINTS and why:
                self._made(inside, why)
        if is_directory and name not in known.below:
            known.below.add(name)
            if self._is_entered(relative):
                self._enter(inside, relative)

    def _starts_kernels(self, path: str, known: _Directory, name: str) -> bool:
        """Whether a kernel may be started where ``name`` is imported: of a package, one above."""
        if not is_init(name):
            return known.starts_kernels
        above = self._directories.get(os.path.dirname(path))  # noqa: PTH120 - many, each second
        return above is None or above.starts_kernels

    def _enter(self, path: str, relative: str) -> None:
        """A directory that was made: what it holds already was made, too."""
        known = self._add(path, relative)
        if known is None:
            return
        known.suspects, known.below = set(), set()
        known.changed = -1
        self._look_at(path, known)

    @staticmethod
    def _is_entered(relative: str) -> bool:
        parts = relative.split("/")
        if ".git" in parts:
            below = parts[parts.index(".git") + 1 :]
            return not below or below[0] in _IN_GIT
        return len(parts) <= DEPTH and parts[-1] not in ("node_modules", "__pycache__")

    def _made(self, path: str, why: str) -> None:
        if path in self._told:
            return
        if len(self._told) >= MAX_TOLD:
            self._unwatched = self._unwatched or path
        else:
            self._told.add(path)
            self._say(
                "protected_made", path, f"was made since the start, and is run or obeyed by {why}"
            )


def _changed(status: os.stat_result) -> int:
    """Its ctime; -1, which is none, where another change may get the same one yet: before Linux
    6.13 it moves once a tick."""
    return status.st_ctime_ns if time.time_ns() - status.st_ctime_ns > TICK_NANOSECONDS else -1


def _identity(path: str) -> tuple[int, ...]:
    with suppress(OSError):
        status = os.lstat(path)
        return status.st_dev, status.st_ino, status.st_ctime_ns
    return ()


def _is_link(path: str) -> bool:
    with suppress(OSError):
        return stat.S_ISLNK(os.lstat(path).st_mode)
    return False


def _entries(descriptor: int) -> Iterator[tuple[str, bool]]:
    """Names, and whether each is a directory. Of very many the first, and those that matter."""
    count = 0
    with suppress(OSError), os.scandir(descriptor) as entries:
        for entry in islice(entries, MAX_ENTRIES):
            count += 1
            yield entry.name, entry.is_dir(follow_symlinks=False)
    for name in LITERALS if count == MAX_ENTRIES else ():
        with suppress(OSError):
            mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
            yield name, stat.S_ISDIR(mode)
