"""Protected names as mounts: what was found on the host, mounted over itself in each bind."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
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
    mounts: Sequence[Mount],
    config: Config,
    where: Mapping[str, str],
    *,
    files: bool = True,
    environment: Sequence[str] = (),
) -> Protection:
    """Look at each writable bind among ``mounts``, and protect what programs of the host run.

    ``where``: the place in the file of each target, for what is refused. ``files``: whether the
    runtime can mount a single file. ``environment``: the launcher's Python, see
    :class:`~moat_nb.host.machine.Host`.
    """
    sources = {mount.target: mount.source if isinstance(mount, Bind) else None for mount in mounts}
    view = View(sources)
    judge = _Judge(view=view, config=config, environment=environment)
    given = [
        mount
        for mount in mounts
        if isinstance(mount, Bind) and not mount.read_only and not mount.copy_of
    ]
    writable = [bind for bind in given if Path(bind.source).is_dir()]
    looks = [(bind, judge.inside(bind)) for bind in writable]
    around = [(bind, judge.around(bind)) for bind in given]
    own = [found for _, found in looks]
    everything = [*own, *(found for _, found in around)]
    read_only = {path: None for found in everything for path in found.read_only}
    pinned = {path: None for found in everything for path in found.pinned}
    covered = {path: None for found in everything for path in found.covered}
    unsafe = {path for found in everything for path in (*found.refused, *found.left)}
    closed = {bind.target: judge.closed(bind, {*read_only, *unsafe}, pinned) for bind in given}
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
    return Protection(
        mounts=(
            *(
                replace(mount, read_only=True, role="protected")
                if isinstance(mount, Bind) and closed.get(mount.target)
                else mount
                for mount in mounts
            ),
            *added.values(),
        ),
        problems=tuple(dict.fromkeys(_problems(looks, around, where))),
        notices=(*_notices(own, config, files), *filter(None, closed.values())),
        watched=tuple({path: None for found in own for path in found.directories}),
    )


@dataclass(frozen=True, kw_only=True)
class _Judge:
    """Looks at what a bind shows, and at where its source stands."""

    view: View
    config: Config
    environment: Sequence[str]

    @property
    def project(self) -> str:
        return os.path.realpath(self.config.directory)

    def inside(self, bind: Bind) -> Found:
        """What is protected below its source."""
        between: list[str] = []
        if is_below(self.project, bind.source):
            # A start looks for moat.yaml in all of these.
            parents = [self.project, *map(str, Path(self.project).parents)]
            between = [path for path in parents if is_below(path, bind.source)]

        def hidden(path: str) -> bool:
            target = posixpath.join(bind.target, posixpath.relpath(path, bind.source))
            return target in self.view.sources

        return self._look(bind.source, hidden)(between)

    def around(self, bind: Bind) -> Found:
        """What is protected of the project, where its source lies in it: the same names, whichever
        bind shows them. Elsewhere what is so on the way to its source, from where both lie."""
        top = posixpath.commonpath((self.project, bind.source))
        between = [str(path) for path in Path(bind.source).parents if is_below(str(path), top)]
        if top == bind.source:
            return Found()
        if top == self.project:
            return self._look(top, lambda path: False)(between)

        def apart(path: str) -> bool:
            pair = path, bind.source
            return posixpath.commonpath(pair) not in pair

        return replace(self._look(top, apart), extra=())(between)

    def _look(self, top: str, hidden: Callable[[str], bool]) -> Look:
        file = f"{self.project}/{self.config.path.name}"
        extra = [posixpath.relpath(file, top)] if is_below(file, top) else []
        return Look(
            top=top,
            extra=(*extra, *self.config.kernel.protect),
            # One that the project lies in cannot be read-only as a whole.
            environments=[
                path
                for path in self.environment
                if is_below(path, top) and path != self.project and not is_below(self.project, path)
            ],
            allowed=self.config.kernel.unprotect,
            hidden=hidden,
        )

    def closed(self, bind: Bind, unsafe: Container[str], pinned: Container[str]) -> str:
        """Why it is read-only as a whole: its source is a protected name, or lies in one. Empty if
        it may be written."""
        for path in (bind.source, *map(str, Path(bind.source).parents)):
            if path in pinned:
                return ""
            if path in unsafe:
                top = posixpath.commonpath((self.project, path))
                return (
                    f"protected names: {bind.target} is read-only, as programs of the host run or "
                    f"obey {path}; {posixpath.relpath(path, top)} in kernel.unprotect would leave "
                    "it writable"
                )
        return ""


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


def _problems(
    looks: Sequence[tuple[Bind, Found]],
    around: Sequence[tuple[Bind, Found]],
    where: Mapping[str, str],
) -> Iterator[Problem]:
    for bind, found in looks:
        for path, why in found.refused.items():
            yield _problem(path, why, where.get(bind.target, ""), bind)
    for bind, found in (*looks, *around):
        if found.full:
            yield _too_many(found.full, where.get(bind.target, ""), bind)


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
