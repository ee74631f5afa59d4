"""What a project might exclude, found by a look at its directory; and how large things are.

The look is bounded in entries, seconds and depth, follows no link (a sandbox may have made it,
at any moment), and stays on one file system. Directories are opened relative to their parents, so
that nothing can be put in the way between the look and the step.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from moat_nb import excludes
from moat_nb.survey_files import Kind

__all__ = ["Budget", "Finding", "look"]

MAX_ENTRIES = 500_000
"""Directory entries in one look; a large node_modules has 100,000."""

MAX_SECONDS = 20.0
"""For one look; a warm disk gives some 200,000 entries a second."""

MAX_DEPTH = 64
"""Levels below a mount's source; each costs one open file."""

CACHE_BYTES = 100_000_000
"""A data cache smaller than this is not worth an exclude."""

_BLOCK = 512
"""Bytes of ``st_blocks``, whatever the file system's own blocks are."""

_PACKAGES = "packages built for this machine; the sandbox installs its own"
_CACHE = "a cache that programs make anew"
_BUILT = "what a build has made"
_LARGE_CACHE = f"a cache of more than {CACHE_BYTES // 10**6} MB"

_DIRECTORIES = {
    "node_modules": _PACKAGES,
    ".venv": _PACKAGES,
    "venv": _PACKAGES,
    "__pycache__": _CACHE,
    ".mypy_cache": _CACHE,
    ".pytest_cache": _CACHE,
    ".ipynb_checkpoints": "old states of notebooks, kept by Jupyter",
    ".next": "what Next.js has built",
    ".gradle": "Gradle's cache",
    ".terraform": "what Terraform has fetched, and perhaps its state with credentials",
}
# Names that also mean other things: what stands beside them makes it likely.
_BESIDE = {
    "target": (_BUILT, ("Cargo.toml", "pom.xml", "build.sbt")),
    "dist": (_BUILT, ("package.json", "pyproject.toml", "setup.py")),
    "build": (_BUILT, ("package.json", "pyproject.toml", "setup.py", "CMakeLists.txt")),
    "vendor": ("copies of dependencies", ("go.mod", "composer.json", "Gemfile", "Cargo.toml")),
}
_DATA_CACHE = re.compile(r"(.*[._-])?caches?", re.IGNORECASE)
_PASSWORDS = "passwords and tokens"
_SECRETS: tuple[tuple[Kind, re.Pattern[str], str, str], ...] = (
    ("file", re.compile(r"\.env"), ".env", _PASSWORDS),
    ("file", re.compile(r"\.env\.(?!example$|sample$|template$)[\w.-]+"), "", _PASSWORDS),
    ("file", re.compile(r".+\.pem"), "*.pem", "a key or a certificate"),
    ("file", re.compile(r"id_(rsa|dsa|ecdsa|ed25519)"), "", "a private SSH key"),
    ("file", re.compile(r"\.netrc"), ".netrc", "passwords for other machines"),
    ("directory", re.compile(r"\.aws"), ".aws", "credentials of AWS"),
)
_NOT_WALKED = frozenset({".git"})
_UNSUPPORTED = re.compile(r"[^A-Za-z0-9/._*-]")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An exclude or what could be one, and what is on the host where it matches."""

    pattern: str
    reason: str = ""
    """Why it is suggested; empty for what is excluded already."""
    secret: bool = False
    kind: Kind | None = None
    """None: nothing is there."""
    places: int = 0
    """How many paths match; a suggestion by ``**`` has several."""
    size: int | None = None
    """Bytes on the disk, a file with several links counted once; None: not measured yet."""
    complete: bool = True
    """False: it is larger than ``size``, which is how far the budget went."""


class _Over(Exception):
    """The budget is spent, or the look was cancelled."""


@dataclass
class Budget:
    """What a look may cost; ``over`` says whether it ended for that."""

    entries: int = MAX_ENTRIES
    seconds: float = MAX_SECONDS
    cancelled: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    over: bool = False
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        self._end = self.clock() + self.seconds

    def spend(self) -> None:
        self.entries -= 1
        if self.entries < 0 or self.clock() > self._end or self.cancelled():
            self.over = True
            raise _Over


@dataclass(frozen=True, kw_only=True)
class _Match:
    path: str
    kind: Kind
    pattern: str = ""
    """The exclude that matches, where one does."""
    group: str = ""
    """The last component of a glob for all of its like; empty: each is suggested by itself."""
    reason: str = ""
    secret: bool = False


def look(source: Path, patterns: Sequence[str], budget: Budget) -> Iterator[Finding]:
    """Yield what is found below ``source``: at first without sizes, then each again with its own.

    ``patterns`` are the excludes that are there; they come first, and are no suggestions. When
    the budget is spent the sizes are lower bounds, and what was not reached is not suggested.
    What cannot be read is passed over.
    """
    try:
        top = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        found = _grouped(patterns, _find(top, patterns, budget), budget)
        yield from (one for one, _ in found if one.reason != _LARGE_CACHE)
        for one, paths in found:
            size, complete = _measure(top, paths, budget)
            if one.reason != _LARGE_CACHE or size >= CACHE_BYTES:
                yield replace(one, size=size, complete=complete and one.complete)
    finally:
        os.close(top)


def _grouped(
    patterns: Sequence[str], matches: Iterable[_Match], budget: Budget
) -> list[tuple[Finding, list[str]]]:
    """Findings with the paths that each stands for: excludes, then secrets, then the rest."""
    groups: dict[tuple[str, str], list[_Match]] = {(pattern, ""): [] for pattern in patterns}
    for match in matches:
        key = (match.pattern, "" if match.pattern else match.group or match.path)
        groups.setdefault(key, []).append(match)
    found = []
    for (asked, group), members in groups.items():
        first = members[0] if members else None
        pattern = asked
        if first is not None and not asked:
            pattern = _as_pattern(first.path if len(members) == 1 else f"**/{group}")
        finding = Finding(
            pattern=pattern,
            reason=first.reason if first else "",
            secret=first.secret if first else False,
            kind=first.kind if first else None,
            places=len(members),
            complete=bool(first) or not budget.over,
        )
        found.append((finding, [member.path for member in members]))
    accepted = [one for one in found if excludes.check(one[0].pattern) is None]
    return sorted(accepted, key=lambda one: (bool(one[0].reason), not one[0].secret))


def _as_pattern(path: str) -> str:
    """``path`` as an exclude; what an exclude cannot spell is a star."""
    return _UNSUPPORTED.sub("*", path)


def _find(top: int, patterns: Sequence[str], budget: Budget) -> Iterator[_Match]:
    """What matches an exclude or is worth one; what matches is not looked into for more."""
    globs = [pattern for pattern in patterns if excludes.is_glob(pattern)]
    plain = {excludes.normalise(p): p for p in patterns if not excludes.is_glob(p)}
    for path, pattern in plain.items():
        kind = _kind_below(top, path)
        if kind is not None:
            yield _Match(path=path, kind=kind, pattern=pattern)
    states = {"": excludes.begin(globs)}
    with suppress(_Over):
        for path, entry, directory in _walk(top, budget, states.__contains__):
            parent, _, name = path.rpartition("/")
            kind = _kind(entry)
            if kind is None or path in plain or name in _NOT_WALKED:
                continue
            number, below = excludes.advance(states[parent], name)
            if number is not None:
                yield _Match(path=path, kind=kind, pattern=globs[number])
            elif match := _worth(path, name, kind, directory):
                yield match
            elif kind == "directory":
                states[path] = below


def _worth(path: str, name: str, kind: Kind, directory: int) -> _Match | None:
    for of_kind, pattern, group, reason in _SECRETS:
        if kind == of_kind and pattern.fullmatch(name):
            return _Match(path=path, kind=kind, group=group or name, reason=reason, secret=True)
    if kind == "file":
        return None
    if name in _DIRECTORIES:
        return _Match(path=path, kind=kind, group=name, reason=_DIRECTORIES[name])
    if name in _BESIDE:
        reason, markers = _BESIDE[name]
        marker = next((marker for marker in markers if _is_there(marker, directory)), None)
        likely = f"; {marker} is beside it" if marker else ", if it is what its name says"
        return _Match(path=path, kind=kind, reason=reason + likely)
    if _DATA_CACHE.fullmatch(name):
        return _Match(path=path, kind=kind, reason=_LARGE_CACHE)
    return None


# ---------------------------------------------------------------- sizes


def _measure(top: int, paths: Iterable[str], budget: Budget) -> tuple[int, bool]:
    """Bytes on the disk of all of ``paths``, and whether all could be counted."""
    seen: set[tuple[int, int]] = set()
    total, complete = 0, True
    for path in paths:
        try:
            for status in _statuses(top, path, budget):
                inode = (status.st_dev, status.st_ino)
                if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                    if inode in seen:
                        continue
                    seen.add(inode)
                total += status.st_blocks * _BLOCK
        except _Over:
            complete = False
    return total, complete


def _statuses(top: int, path: str, budget: Budget) -> Iterator[os.stat_result]:
    """The status of what is at ``path``, and of all below it; nothing of what cannot be read."""
    budget.spend()
    with suppress(OSError), _parent_of(top, path) as (parent, name):
        yield os.stat(name, dir_fd=parent, follow_symlinks=False)
        directory = _open_directory(name, parent)
        try:
            for _, entry, _ in _walk(directory, budget, lambda path: True):
                with suppress(OSError):
                    yield entry.stat(follow_symlinks=False)
        finally:
            os.close(directory)


# ---------------------------------------------------------------- the walk


@dataclass(frozen=True, kw_only=True)
class _Level:
    """A directory that is being walked."""

    prefix: str
    directory: int
    entries: Any
    """An iterator of :func:`os.scandir`, whose type has no public name."""

    @classmethod
    def open(cls, prefix: str, directory: int) -> _Level | None:
        """Takes ``directory`` over; None where it cannot be read."""
        try:
            return cls(prefix=prefix, directory=directory, entries=os.scandir(directory))
        except OSError:
            os.close(directory)
            return None

    def close(self) -> None:
        self.entries.close()
        os.close(self.directory)


def _walk(
    top: int, budget: Budget, descend: Callable[[str], bool]
) -> Iterator[tuple[str, os.DirEntry[str], int]]:
    """Each entry below the directory ``top``: its path, itself, and its directory's descriptor.

    A directory for which ``descend`` says so, asked after it was yielded, is gone into when it is
    on the same file system.
    """
    device = os.fstat(top).st_dev
    first = _Level.open("", os.dup(top))
    levels = [first] if first else []
    try:
        while levels:
            level = levels[-1]
            entry = _next(level.entries)
            if entry is None:
                levels.pop().close()
                continue
            budget.spend()
            path = level.prefix + entry.name
            yield path, entry, level.directory
            if descend(path) and _kind(entry) == "directory":
                if len(levels) == MAX_DEPTH:
                    budget.over = True
                elif below := _below(entry.name, level, device):
                    levels.append(below)
    finally:
        for level in levels:
            level.close()


def _next(entries: Iterator[os.DirEntry[str]]) -> os.DirEntry[str] | None:
    try:
        return next(entries, None)
    except OSError:
        return None


def _below(name: str, level: _Level, device: int) -> _Level | None:
    try:
        directory = _open_directory(name, level.directory)
    except OSError:
        return None
    if os.fstat(directory).st_dev != device:
        os.close(directory)
        return None
    return _Level.open(f"{level.prefix}{name}/", directory)


def _open_directory(name: str, parent: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)


@contextmanager
def _parent_of(top: int, path: str) -> Iterator[tuple[int, str]]:
    """The open directory that ``path`` stands in, and its name there; OSError if there is none."""
    *above, name = path.split("/")
    directory = os.dup(top)
    try:
        for part in above:
            inner = _open_directory(part, directory)
            os.close(directory)
            directory = inner
        yield directory, name
    finally:
        os.close(directory)


def _kind(entry: os.DirEntry[str]) -> Kind | None:
    try:
        if entry.is_dir(follow_symlinks=False):
            return "directory"
        return "file" if entry.is_file(follow_symlinks=False) else None
    except OSError:
        return None


def _kind_below(top: int, path: str) -> Kind | None:
    with suppress(OSError), _parent_of(top, path) as (parent, name):
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        return "directory" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else None
    return None


def _is_there(name: str, directory: int) -> bool:
    with suppress(OSError):
        os.stat(name, dir_fd=directory, follow_symlinks=False)
        return True
    return False
