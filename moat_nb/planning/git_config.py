"""What a git directory's configs name: hooks, further configs, and where its work tree stands.

Read by hand, as git would obey what is only to be looked at.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from moat_nb.host.regular_file import open_regular

__all__ = ["GitConfig", "git_config", "pairs", "pointed", "read_text", "settings"]

MAX_TEXT = 128 << 10
MAX_CONFIGS = 16
"""Of one git directory, with those that are included."""

_TOKEN = re.compile(
    r"""
    [#;][^\n]*
    | \[ \s* (?P<section>[\w.-]+) (?:[ \t]+"(?:\\.|[^"\\\n])*")? [ \t]* \]
    | (?P<key>[A-Za-z][\w-]*) [ \t]* =
      (?P<value>(?:"(?:\\[\s\S]|[^"\\\n])*"|\\[\s\S]|[^"\\\n#;])*)
    | [A-Za-z][\w-]*
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r'\\([\s\S])|"')
_MEANINGS = {"\n": "", "n": "\n", "t": "\t", "b": "\b"}


@dataclass(frozen=True, kw_only=True)
class GitConfig:
    """Absolute and normalised paths, whether there is something or not."""

    hooks: tuple[str, ...]
    """Where ``core.hooksPath`` says that they are."""
    included: tuple[str, ...]
    """Configs that others include."""


def git_config(directory: str, work_tree: str | None = None) -> GitConfig:
    """Of a git directory; ``work_tree``: where it stands, besides what the directory says of that.

    Every condition of an include counts as met, and hooks count in each of the work trees.
    """
    common = pointed(directory, "commondir") or directory
    pending = deque(
        dict.fromkeys(
            f"{path}/{name}"
            for path in (directory, common)
            for name in ("config", "config.worktree")
        )
    )
    trees = [work_tree or "", posixpath.dirname(pointed(directory, "gitdir"))]
    included: dict[str, None] = {}
    hooks: list[str] = []
    count = 0
    while pending and count < MAX_CONFIGS:
        count += 1
        file = pending.popleft()
        for key, value in settings(read_text(file)):
            if key == "core.worktree":
                trees.append(_joined(directory, value))
            elif key == "core.hookspath":
                hooks.append(value)
            elif (path := _joined(posixpath.dirname(file), value)) not in included:
                included[path] = None
                pending.append(path)
    known = [*filter(None, trees)] or [directory]
    return GitConfig(
        hooks=tuple(_joined(tree, value) for tree in known for value in hooks),
        included=tuple(included),
    )


def settings(text: str) -> tuple[tuple[str, str], ...]:
    """The keys that name paths, in small letters, with their values as git reads them."""
    known = ("core.hookspath", "core.worktree", "include.path", "includeif.path")
    return tuple((key, value) for key, value in pairs(text) if key in known)


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """All keys, in small letters and without subsections, with their values as git reads them."""
    section = ""
    for token in _TOKEN.finditer(text.removeprefix("\ufeff").replace("\r\n", "\n")):
        section = (token["section"] or section).lower()
        if token["key"]:
            value = _ESCAPE.sub(lambda e: _meaning(e[1]), token["value"].strip())
            yield f"{section}.{token['key'].lower()}", value


def _meaning(escaped: str | None) -> str:
    return "" if escaped is None else _MEANINGS.get(escaped, escaped)


def _joined(directory: str, path: str) -> str:
    there = os.path.expanduser(path)  # noqa: PTH111 - git leaves a "~" that it does not know, too
    return posixpath.normpath(posixpath.join(directory, there))


def pointed(directory: str, name: str) -> str:
    """The path that a file of a work tree's git directory holds; empty where there is none."""
    text = read_text(f"{directory}/{name}").strip()
    return _joined(directory, text) if text else ""


def read_text(path: str) -> str:
    """The beginning of a regular file; what is not one could make the reader wait for ever."""
    with suppress(OSError, ValueError), open_regular(path) as stream:
        # No path can hold a zero.
        return stream.read(MAX_TEXT).decode(errors="replace").replace("\0", "")
    return ""
