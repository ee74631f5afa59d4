"""Validates exclude patterns (for moat.yaml, the command line and the widget) and matches globs.

An exclude is a path relative to a mount's target. ``*`` stands for any characters of one
component, including a leading dot: an exclude hides, so it takes more than a shell would. ``**``
as a component stands for any number of directories, or none. As in Moat, harmless spellings are
normalised: ``node_modules/``, ``./x`` and ``a//b``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

__all__ = ["GlobStates", "check", "check_all", "is_glob", "normalise", "start", "step"]

_UNSUPPORTED = re.compile(r"[^A-Za-z0-9/._*-]")
# NAME_MAX of Linux's file systems, and a quarter of PATH_MAX, which leaves room for the target.
_MAX_COMPONENT = 255
_MAX_LENGTH = 1024

GlobStates: TypeAlias = frozenset[tuple[int, tuple[str, ...]]]
"""Each glob's number, and its components that are left to match."""


def normalise(pattern: str) -> str:
    """``pattern`` without empty and ``.`` components; what :func:`check` accepts stays accepted."""
    return "/".join(part for part in pattern.split("/") if part not in {"", "."})


def is_glob(pattern: str) -> bool:
    return "*" in pattern


def check(pattern: str) -> str | None:
    """The problem of one exclude, as text for the user; None for a good one.

    Never raises, for any string.
    """
    if not pattern:
        return "an exclude must not be empty"
    if len(pattern) > _MAX_LENGTH:
        return f"an exclude of {len(pattern)} characters; at most {_MAX_LENGTH} are allowed"
    character = _UNSUPPORTED.search(pattern)
    if character:
        allowed = "letters, digits and / . - _ *"
        return f"{pattern!r} has the unsupported character {character[0]!r}; allowed are {allowed}"
    if pattern.startswith("/"):
        return f"{pattern!r} is absolute; an exclude is relative to the mount's target"
    parts = pattern.split("/")
    if ".." in parts:
        return f"{pattern!r} must not contain '..'"
    if not normalise(pattern):
        return f"{pattern!r} is the mount's target itself; name something below it"
    if max(map(len, parts)) > _MAX_COMPONENT:
        return f"a component of {max(map(len, parts))} characters; at most {_MAX_COMPONENT} exist"
    return None


def check_all(patterns: Sequence[str]) -> list[tuple[int, str]]:
    """``(index, problem)`` for every wrong exclude of one mount, by index.

    Beside :func:`check`: the later of two equal ones is a duplicate, and one below another is
    redundant.
    """
    problems = {i: problem for i, text in enumerate(patterns) if (problem := check(text))}
    first: dict[str, int] = {}
    for i, text in enumerate(patterns):
        if i not in problems and first.setdefault(normalise(text), i) != i:
            problems[i] = f"{text!r} is a duplicate of {patterns[first[normalise(text)]]!r}"
    for path, i in first.items():
        parts = path.split("/")
        above = ("/".join(parts[:length]) for length in range(1, len(parts)))
        outer = next((first[parent] for parent in above if parent in first), None)
        if outer is not None:
            problems[i] = f"{patterns[i]!r} is redundant with {patterns[outer]!r}"
    return sorted(problems.items())


def start(patterns: Iterable[str]) -> GlobStates:
    """The states of accepted patterns at the mount's target."""
    return frozenset((number, _components(pattern)) for number, pattern in enumerate(patterns))


def step(states: GlobStates, name: str) -> tuple[int | None, GlobStates]:
    """Go down into the entry ``name``.

    Returns the lowest number of a glob that matches the entry itself, and the states below it.
    """
    after: set[tuple[int, tuple[str, ...]]] = set()
    for number, parts in states:
        any_depth = parts[0] == "**"
        if any_depth:
            after.add((number, parts))
        head, *tail = parts[any_depth:]
        if fnmatchcase(name, head):
            after.add((number, tuple(tail)))
    matched = min((number for number, parts in after if not parts), default=None)
    return matched, frozenset((number, parts) for number, parts in after if parts)


def _components(pattern: str) -> tuple[str, ...]:
    parts: list[str] = []
    for part in normalise(pattern).split("/"):
        if part != "**" or parts[-1:] != ["**"]:
            parts.append(part)
    # All that is below a directory is covered when each of its entries is.
    if parts[-1] == "**":
        parts[-1] = "*"
    return tuple(parts)
