"""What stands on the host at a path of the sandbox; links are looked at and never followed."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from moat_nb.config import exclude_patterns
from moat_nb.config.model import Exclude
from moat_nb.errors import ConfigError, Problem
from moat_nb.host.machine import User

__all__ = [
    "LONGEST_PATH",
    "MOST_LEVELS",
    "Expanded",
    "Kind",
    "View",
    "config_error",
    "expand",
    "inspect",
    "kind_of",
    "mode_of",
    "too_many",
]

Kind: TypeAlias = Literal["directory", "file"]

MAX_BYTES = 1 << 20
"""Of the paths of all matches: they are arguments of a program, and a message of the guest's."""

MAX_ENTRIES = 100_000
"""Directory entries looked at for the globs of one mount; half a second's work."""

MOST_LEVELS, LONGEST_PATH = 100, 2000
"""Directories below each other, and bytes of a path, that are looked into for globs. A sandbox can
make thousands of levels, where no path reaches any more; a directory beyond these bounds is covered
whole where a glob could match in it."""
SHOWN = 200
"""Characters of a path in a refusal."""

_OTHER_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class View:
    """What the sandbox sees at a path: the host's source of each mount, by target.

    A source of None is opaque: a volume, a tmpfs, or a source that was refused. What is below
    it is not the host's, or not to be looked at.
    """

    sources: Mapping[str, str | None]
    user: User | None = None
    """Whose sandbox it is, where that is not the launcher, who can read what the user cannot."""

    def place(self, target: str) -> tuple[str | None, str]:
        """The source of the nearest mount strictly above ``target``, and the path below it."""
        parent = target
        while parent != "/":
            parent = posixpath.dirname(parent)
            if parent in self.sources:
                return self.sources[parent], target[len(parent) :].lstrip("/")
        return None, ""

    def children(self, target: str, path: str | None) -> list[tuple[str, str | None, bool]]:
        """What is seen in ``target``, which is the host's ``path``: name, path, directory or not.

        The host's entries and those that only mounts make, by name. Raises OSError when the
        host's directory cannot be read.
        """
        result: dict[str, tuple[str | None, bool]]
        result = {name: (f"{path}/{name}", is_dir) for name, is_dir in self._list(path)}
        prefix = target.rstrip("/") + "/"
        for mount in self.sources:
            if mount.startswith(prefix):
                name = mount[len(prefix) :].split("/", 1)[0]
                below = None if path is None else f"{path}/{name}"
                result[name] = self.sources.get(prefix + name, below), True
        return [(name, *result[name]) for name in sorted(result)]

    def _list(self, path: str | None) -> list[tuple[str, bool]]:
        """Names, and whether each is a directory; nothing where there is no directory."""
        if path is None:
            return []
        try:
            with os.scandir(path) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            if found:
                self._enter(path)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return found

    def _enter(self, path: str) -> None:
        """PermissionError where entries cannot be looked at, or not by the user."""
        status = os.stat(f"{path}/.")  # noqa: PTH116 - of each directory
        if self.user is not None:
            own, group = status.st_uid == self.user.uid, status.st_gid == self.user.gid
            if status.st_mode >> (6 if own else 3 if group else 0) & 5 != 5:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def config_error(where: str, what: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem(where=where, what=what, hint=hint)])


def mode_of(path: str, where: str) -> int:
    """The mode of ``path`` itself, a link not followed; 0 when there is nothing."""
    try:
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise config_error(where, f"cannot look at {_shown(path)}: {error.strerror}") from None


def kind_of(path: str, words: str, where: str, *, special: bool = False) -> Kind | None:
    """Directory, file, or None when there is nothing; ConfigError for anything else. ``special``: a
    socket, a pipe or a device is a file: an empty one can cover it."""
    mode = mode_of(path, where)
    if not mode:
        return None
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISREG(mode) or (special and not stat.S_ISLNK(mode)):
        return "file"
    is_what = _OTHER_KINDS.get(stat.S_IFMT(mode), "of another kind")
    raise config_error(where, f"{words} is {is_what}, where only a directory or a file may be")


def inspect(view: View, target: str, where: str, *, special: bool = False) -> Kind | None:
    """What the host has at ``target``; None for nothing, or where the host is not looked at.

    Raises ConfigError when a component is a link, or one above the last is no directory, and
    without ``special`` (see :func:`kind_of`) also when it is neither a directory nor a file.
    """
    root, relative = view.place(target)
    if root is None:
        return None
    parts = relative.split("/")
    kind: Kind | None = None
    for length in range(1, len(parts) + 1):
        path = posixpath.join(root, *parts[:length])
        if stat.S_ISLNK(mode_of(path, where)):
            what = f"{target} passes through a symbolic link: {path} -> {Path(path).readlink()}"
            raise config_error(where, what, _instead(view, target, path))
        kind = kind_of(path, path, where, special=special and length == len(parts))
        if kind is None:
            return None
        if kind == "file" and length < len(parts):
            raise config_error(where, f"{target} cannot stand below {path}, which is a file")
    return kind


def _instead(view: View, target: str, link: str) -> str:
    """What to do about a link in the way of a mount."""
    real = os.path.realpath(link)
    shown = [source for source in view.sources.values() if source is not None]
    if any(f"{real}/".startswith(f"{source}/") for source in shown):
        return "an engine would follow it; name the real path"
    what = "a link that leads out of the mounts shows nothing inside"
    return f"{what}: take {target.rpartition('/')[2]} out of moat.yaml, or remove the link"


@dataclass(frozen=True, kw_only=True)
class Expanded:
    """What globs match."""

    matches: Mapping[str, Exclude]
    """The targets, none below another, each with its glob."""
    unreadable: Mapping[str, Exclude]
    """Those of them that match since nobody can see what they hold."""


def expand(view: View, top: str, globs: Sequence[Exclude], limit: int) -> Expanded:
    """What is below ``top`` and matches a glob; ConfigError where that is more than ``limit``.

    Directories are walked as the sandbox sees them, other mounts included. What matches is not
    walked into, and a mount is no match for a glob that merely reaches it. Of what is very deep, or
    cannot be read, the directory above is the match.
    """
    matches: dict[str, Exclude] = {}
    unreadable: dict[str, Exclude] = {}
    looked_at = size = 0
    states = exclude_patterns.start(exclude.pattern for exclude in globs)
    pending = [(top, view.sources[top], states)]
    while pending:
        target, path, states = pending.pop()
        try:
            children = view.children(target, path)
        except OSError as error:
            if target in view.sources:
                raise _closed(path or "", error, globs[0].where) from None
            matches[target] = unreadable[target] = _mountable(target, globs[0])
            continue
        for name, child, is_directory in children:
            looked_at += 1
            below = posixpath.join(target, name)
            number, states_below = exclude_patterns.step(states, name)
            if number is not None and below not in view.sources:
                matches[below] = _mountable(below, globs[number])
            elif states_below and is_directory and _is_deep(below, top):
                matches[below] = _mountable(below, globs[0])
            elif states_below and is_directory:
                pending.append((below, child, states_below))
            size += len(below) if below in matches else 0
        if len(matches) > limit:
            raise too_many(limit, globs[0].where)
        if size > MAX_BYTES:
            what = "this mount's globs match paths with more than 1 MiB in all"
            raise config_error(globs[0].where, what, "exclude a directory above them")
        if looked_at > MAX_ENTRIES:
            what = f"more than {MAX_ENTRIES} files to look at for this mount's globs"
            raise config_error(
                globs[0].where, what, "exclude large directories by name, or avoid **"
            )
    return Expanded(matches=matches, unreadable=unreadable)


def too_many(limit: int, where: str) -> ConfigError:
    """More excludes than ``limit``."""
    hint = "exclude a directory above them, or raise kernel.max_excludes"
    return config_error(where, f"the excludes match more than {limit} paths", hint)


def _closed(path: str, error: OSError, where: str) -> ConfigError:
    what = f"cannot look into {_shown(path)} for this mount's globs: {error.strerror}"
    return config_error(where, what, "exclude it by name, or make it readable")


def _is_deep(path: str, top: str) -> bool:
    too_many = path.count("/") - top.rstrip("/").count("/") > MOST_LEVELS
    return too_many or len(os.fsencode(path)) > LONGEST_PATH


def _mountable(path: str, glob: Exclude) -> Exclude:
    try:
        path.encode()
    except UnicodeEncodeError:
        what = f"{_shown(path)} matches {glob.pattern}, and its name is not UTF-8"
        raise config_error(glob.where, what, "rename it, or exclude a directory above it") from None
    return glob


def _shown(path: str) -> str:
    half = SHOWN // 2
    return path if len(path) <= SHOWN else f"{path[:half]} ... {path[-half:]}"
