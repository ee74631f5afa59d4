"""/etc/passwd and /etc/group of a sandbox: without an entry ``getpass``, ``whoami``, Spark and ssh
fail. One generator for every runtime; pure.

The kernel's user comes first, so that its uid has this name and HOME whatever else an image has;
an image's own users stay known.
"""

from __future__ import annotations

from collections.abc import Iterator

from moat_nb.host.machine import User
from moat_nb.planning.spec import HOME

__all__ = ["GROUP", "NAME", "PASSWD", "group", "passwd"]

NAME = "moat"
"""The kernel's user, and its group."""

PASSWD, GROUP = "/etc/passwd", "/etc/group"

_USERS = (
    "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
)
_GROUPS = "root:x:0:\nnogroup:x:65534:\n"

MOST_LINES = 5000
"""Of an image's: of more the rest is left out."""


def passwd(user: User, known: str = _USERS) -> str:
    """The file's text; ``known`` is the image's own."""
    own = f"{NAME}:x:{user.uid}:{user.gid}:{NAME}:{HOME}:/bin/sh\n"
    return own + "".join(_others(known, fields=7))


def group(user: User, known: str = _GROUPS) -> str:
    """The file's text; ``known`` is the image's own."""
    return f"{NAME}:x:{user.gid}:\n" + "".join(_others(known, fields=4))


def _others(known: str, *, fields: int) -> Iterator[str]:
    for line in known.split("\n")[:MOST_LINES]:
        name, *rest = line.split(":")
        if len(rest) == fields - 1 and name.isprintable() and name not in ("", NAME, "+"):
            yield f"{line}\n"
