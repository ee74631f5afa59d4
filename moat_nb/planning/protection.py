"""Protected names as mounts: what was found on the host, mounted over itself in each bind."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moat_nb.config.model import Config
from moat_nb.errors import Problem
from moat_nb.planning.host_files import View
from moat_nb.planning.limits import MIB
from moat_nb.planning.mounts import Bind, Mount, Tmpfs, is_below
from moat_nb.planning.protected import MAX_FOUND, Found, Look

__all__ = ["Protection", "protect"]

COVER_SIZE = MIB
"""Bytes of the empty directory over Jupyter's checkpoints; nothing inside needs them."""

SHOWN = 3
"""Paths named in a notice."""


@dataclass(frozen=True, kw_only=True)
class Protection:
    mounts: tuple[Mount, ...]
    """Those that were given, and what protects them."""
    problems: tuple[Problem, ...] = ()
    notices: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    """Host directories; see :class:`~moat_nb.planning.mounts.MountPlan`."""


def protect(
    mounts: Sequence[Mount], config: Config, where: Mapping[str, str], *, files: bool = True
) -> Protection:
    """Look at each writable bind among ``mounts``, and protect what programs of the host run.

    ``where``: the place in the file of each target, for what is refused. ``files``: whether the
    runtime can mount a single file.
    """
    sources = {mount.target: mount.source if isinstance(mount, Bind) else None for mount in mounts}
    view = View(sources)
    binds = [m for m in mounts if isinstance(m, Bind) and Path(m.source).is_dir()]
    writable = [bind for bind in binds if not bind.read_only]
    looks = {bind.target: _look(bind, view, config) for bind in writable}
    everything = list(looks.values())
    read_only = {path: None for found in everything for path in found.read_only}
    pinned = {path: None for found in everything for path in found.pinned}
    covered = {path: None for found in everything for path in found.covered}
    given = [_closed(mount, read_only) for mount in mounts]
    added: dict[str, Mount] = {}
    for bind in writable:
        for path in (*pinned, *read_only, *covered):
            target = _seen_at(path, bind, view)
            if target is None or not (files or path in pinned or Path(path).is_dir()):
                continue
            if path in covered:
                added[target] = Tmpfs(target=target, size=COVER_SIZE, role="cover")
            elif path in read_only:
                added[target] = Bind(source=path, target=target, read_only=True, role="protected")
            else:
                added[target] = Bind(source=path, target=target, role="pin")
    problems = [
        _problem(path, why, where.get(bind.target, ""), bind)
        for bind in writable
        for path, why in looks[bind.target].refused.items()
    ]
    problems += [
        _too_many(looks[bind.target].full, where.get(bind.target, ""), bind)
        for bind in writable
        if looks[bind.target].full
    ]
    return Protection(
        mounts=(*given, *added.values()),
        problems=tuple(dict.fromkeys(problems)),
        notices=tuple(_notices(everything, config, files)),
        watched=tuple({path: None for found in everything for path in found.directories}),
    )


def _look(bind: Bind, view: View, config: Config) -> Found:
    project = os.path.realpath(config.directory)
    between: list[str] = []
    if is_below(project, bind.source):
        # A start looks for moat.yaml in all of these.
        parents = [project, *map(str, Path(project).parents)]
        between = [path for path in parents if is_below(path, bind.source)]
    file = f"{project}/{config.path.name}"
    extra = [posixpath.relpath(file, bind.source)] if is_below(file, bind.source) else []

    def hidden(path: str) -> bool:
        return posixpath.join(bind.target, posixpath.relpath(path, bind.source)) in view.sources

    look = Look(
        top=bind.source,
        extra=(*extra, *config.kernel.protect),
        allowed=config.kernel.unprotect,
        hidden=hidden,
    )
    return look(between)


def _seen_at(path: str, bind: Bind, view: View) -> str | None:
    """Where ``bind`` shows a host path below its source; None where it does not, or another mount
    stands there or above."""
    if not is_below(path, bind.source):
        return None
    target = posixpath.join(bind.target, posixpath.relpath(path, bind.source))
    root, relative = view.place(target)
    if target in view.sources or root is None or f"{root}/{relative}" != path:
        return None
    return target


def _closed(mount: Mount, read_only: Mapping[str, None]) -> Mount:
    """A bind of what another bind's protected name holds is read-only as a whole."""
    if not isinstance(mount, Bind) or mount.read_only:
        return mount
    above = (mount.source, *map(str, Path(mount.source).parents))
    if any(path in read_only for path in above):
        return replace(mount, read_only=True, role="protected")
    return mount


def _problem(path: str, why: str, where: str, bind: Bind) -> Problem:
    name = posixpath.relpath(path, bind.source)
    return Problem(
        where=where,
        what=f"{path} is run or obeyed by programs of the host, and cannot be protected: it {why}",
        hint=f"put a plain file or directory there, or list {name} in kernel.unprotect",
    )


def _too_many(path: str, where: str, bind: Bind) -> Problem:
    return Problem(
        where=where,
        what=f"{bind.source} holds more than {MAX_FOUND} paths that programs of the host run or "
        f"obey, and each is a mount of its own; {path} is one too many",
        hint="remove what nobody needs, exclude it, or list it in kernel.unprotect",
    )


def _notices(looks: Sequence[Found], config: Config, files: bool) -> list[str]:
    notices = []
    if config.kernel.unprotect:
        names = ", ".join(config.kernel.unprotect)
        notices.append(f"protected names: kernel.unprotect leaves {names} writable")
    if any(found.truncated for found in looks):
        notices.append(
            "protected names: a mount holds more directories than were looked at; those near its "
            "top are protected"
        )
    left = {path: why for found in looks for path, why in found.left.items()}
    for path, why in list(left.items())[:SHOWN]:
        notices.append(f"protected names: {path} is not protected, or not all of it: it {why}")
    singles = [path for found in looks for path in found.read_only if not Path(path).is_dir()]
    if singles and not files:
        shown = ", ".join(singles[:SHOWN]) + (", ..." if len(singles) > SHOWN else "")
        notices.append(
            f"protected names: this runtime cannot mount a single file, so {shown} can be changed "
            "inside; the start's end tells of it, and `moat-nb changes`"
        )
    return notices
