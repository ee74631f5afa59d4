"""Where a symbolic link leads inside a sandbox: read on the host, followed by hand.

No link is followed by the system, so none leads out of the mounts; what a link says is a stranger's
words, as a sandbox may have made it.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Container, Iterable

from moat_nb.planning.host_files import Kind, View, inspect
from moat_nb.planning.mounts import is_below

__all__ = ["cover_links", "is_link", "led_to"]

MOST_LINKS = 40
"""On one way, as Linux has it."""


def is_link(view: View, target: str) -> bool:
    """Whether the host has a link at ``target``."""
    root, below = view.place(target)
    return root is not None and os.path.islink(f"{root}/{below}")  # noqa: PTH114 - text, often


def led_to(view: View, target: str) -> str | None:
    """The place inside that a link at ``target`` shows; None where the mounts show nothing of it.

    What is None in ``view``, a volume or what is covered, is an end.
    """
    path, links = "/", 0
    names = target.split("/")[::-1]
    while names:
        name = names.pop()
        if name in ("", "."):
            continue
        if name == "..":
            path = posixpath.dirname(path)
            continue
        path = posixpath.join(path, name)
        root, below = view.place(path)
        if path in view.sources or (root is None and _leads_to_mounts(path, view)):
            continue
        link = None if root is None else _read(f"{root}/{below}")
        if link is None or links == MOST_LINKS:
            return None
        if link:
            links += 1
            path = "/" if link.startswith("/") else posixpath.dirname(path)
            names += link.split("/")[::-1]
    return path


def _leads_to_mounts(path: str, view: View) -> bool:
    return any(is_below(mount, path) for mount in view.sources)


def _read(path: str) -> str | None:
    """What a link says; empty for what is no link, None for what is not there."""
    try:
        return os.readlink(path) if stat.S_ISLNK(os.lstat(path).st_mode) else ""  # noqa: PTH115
    except OSError:
        return None


def cover_links(
    view: View, links: Iterable[tuple[str, str]], excluded: dict[str, Kind]
) -> list[str]:
    """Add to ``excluded`` what the ``links`` (target, place in the file) show; notices of those
    that lead to where the user works."""
    notices = []
    for target, where in links:
        covered = View({**dict.fromkeys(excluded), **view.sources})
        place = led_to(covered, target)
        if place is None or _within(place, excluded):
            continue
        if place in view.sources or place == "/" or is_below(target, place):
            notices.append(f"excludes: {target} is a link to {place}, which shows what it holds")
            continue
        kind = inspect(view, place, where, special=True)
        for below in [path for path in excluded if is_below(path, place)]:
            del excluded[below]
        if kind is not None:
            excluded[place] = kind
    return notices


def _within(path: str, excluded: Container[str]) -> bool:
    while path != "/":
        if path in excluded:
            return True
        path = posixpath.dirname(path)
    return False
