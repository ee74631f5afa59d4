"""Suggests excludes by a scan of a project's directory, with sizes.

The scan is bounded and follows no link: see :mod:`moat_nb.planning.walk`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from moat_nb.config import exclude_patterns
from moat_nb.planning.host_files import Kind
from moat_nb.planning.walk import (
    Budget,
    NoKind,
    Over,
    is_there,
    kind_below,
    kind_of_entry,
    open_directory,
    parent_of,
    walk,
)

__all__ = ["Candidate", "scan", "unmeasured"]

MAX_SUGGESTIONS = 100
"""Of one scan: a project can have any number of files named like secrets, a page cannot."""

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
    ("file", re.compile(r"(?!(?:example|sample|template)\.).+\.env"), "*.env", _PASSWORDS),
    ("file", re.compile(r"\.(Renviron|npmrc)"), "", "tokens, perhaps"),
    ("file", re.compile(r".+\.pem"), "*.pem", "a key or a certificate"),
    ("file", re.compile(r".+\.key"), "*.key", "a private key"),
    ("file", re.compile(r".+\.(p12|pfx)"), "", "a key with its certificate"),
    ("file", re.compile(r"id_(rsa|dsa|ecdsa|ed25519)"), "", "a private SSH key"),
    ("file", re.compile(r"\.netrc"), ".netrc", "passwords for other machines"),
    ("file", re.compile(r"\.(envrc|pgpass|pypirc|htpasswd|git-credentials)"), "", _PASSWORDS),
    ("file", re.compile(r"secrets\.(toml|ya?ml|json)"), "", _PASSWORDS),
    ("file", re.compile(r"(credentials|kaggle|client_secret.*)\.json"), "", _PASSWORDS),
    ("file", re.compile(r"service[-_]?account.*\.json"), "", "a key of Google's cloud"),
    ("file", re.compile(r".+\.tfstate(\.backup)?"), "", "Terraform's state, with passwords"),
    ("directory", re.compile(r"\.aws"), ".aws", "credentials of AWS"),
    ("directory", re.compile(r"\.(ssh|gnupg)"), "", "private keys"),
)
_NOT_WALKED = frozenset({".git"})
_UNSUPPORTED = re.compile(r"[^A-Za-z0-9/._*-]")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An exclude or a suggestion, and the facts of its matches on the host."""

    pattern: str
    reason: str = ""
    """Why it is suggested; empty for an existing exclude."""
    secret: bool = False
    kind: Kind | NoKind | None = None
    """None: nothing is there."""
    places: int = 0
    """How many paths match; a suggestion by ``**`` has several."""
    size: int | None = None
    """Bytes on the disk, a file with several links counted once; None: not measured yet."""
    complete: bool = True
    """False: it is larger than ``size``, which is how far the budget went."""


@dataclass(frozen=True, kw_only=True)
class _Match:
    path: str
    kind: Kind | NoKind
    pattern: str = ""
    """The exclude that matches, where one does."""
    group: str = ""
    """The last component of a glob for all of its like; empty: each is suggested by itself."""
    reason: str = ""
    secret: bool = False


def unmeasured(source: Path, patterns: Sequence[str], budget: Budget) -> tuple[Candidate, ...]:
    """The findings of :func:`scan` without their sizes, and without what is worth an exclude only
    for its size."""
    found = []
    for one in scan(source, patterns, budget):
        if one.size is not None:
            break
        found.append(one)
    return tuple(found)


def scan(source: Path, patterns: Sequence[str], budget: Budget) -> Iterator[Candidate]:
    """Yield the findings below ``source``: first without sizes, then each again with its size.

    ``patterns`` are the existing excludes; they come first. When the budget is spent the sizes
    are lower bounds, and only what was reached is suggested. Unreadable entries are skipped.
    """
    try:
        top = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        found = _grouped(patterns, _find(top, patterns, budget), budget)
        yield from (finding for finding, _ in found if finding.reason != _LARGE_CACHE)
        for finding, paths in found:
            size, complete = _measure(top, paths, budget)
            if finding.reason != _LARGE_CACHE or size >= CACHE_BYTES:
                yield replace(finding, size=size, complete=complete and finding.complete)
    finally:
        os.close(top)


def _grouped(
    patterns: Sequence[str], matches: Iterable[_Match], budget: Budget
) -> list[tuple[Candidate, list[str]]]:
    """Candidates with the paths that each stands for: excludes, then secrets, then the rest."""
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
        finding = Candidate(
            pattern=pattern,
            reason=first.reason if first else "",
            secret=first.secret if first else False,
            kind=first.kind if first else None,
            places=len(members),
            complete=bool(first) or not budget.over,
        )
        found.append((finding, [member.path for member in members]))
    listed = found[: len(set(patterns))]
    accepted = [
        one for one in found[len(listed) :] if exclude_patterns.check(one[0].pattern) is None
    ]
    suggested = sorted(accepted, key=lambda one: not one[0].secret)
    budget.over = budget.over or len(suggested) > MAX_SUGGESTIONS
    return [*listed, *suggested[:MAX_SUGGESTIONS]]


def _as_pattern(path: str) -> str:
    """``path`` as an exclude; a star stands for each character that excludes cannot have."""
    return _UNSUPPORTED.sub("*", path)


def _find(top: int, patterns: Sequence[str], budget: Budget) -> Iterator[_Match]:
    """The paths that match an exclude or are worth one; the scan does not go below them."""
    globs = [pattern for pattern in patterns if exclude_patterns.is_glob(pattern)]
    plain = {exclude_patterns.normalise(p): p for p in patterns if not exclude_patterns.is_glob(p)}
    for path, pattern in plain.items():
        kind = kind_below(top, path)
        if kind is not None:
            yield _Match(path=path, kind=kind, pattern=pattern)
    states = {"": exclude_patterns.start(globs)}
    with suppress(Over):
        for path, entry, directory in walk(top, budget, states.__contains__):
            parent, _, name = path.rpartition("/")
            kind = kind_of_entry(entry)
            if kind is None or path in plain or name in _NOT_WALKED:
                continue
            number, below = exclude_patterns.step(states[parent], name)
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
        marker = next((marker for marker in markers if is_there(marker, directory)), None)
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
        except Over:
            complete = False
    return total, complete


def _statuses(top: int, path: str, budget: Budget) -> Iterator[os.stat_result]:
    """The status of ``path`` and of all below it, without unreadable entries."""
    budget.spend()
    with suppress(OSError), parent_of(top, path) as (parent, name):
        yield os.stat(name, dir_fd=parent, follow_symlinks=False)
        directory = open_directory(name, parent)
        try:
            for _, entry, _ in walk(directory, budget, lambda path: True):
                with suppress(OSError):
                    yield entry.stat(follow_symlinks=False)
        finally:
            os.close(directory)
