"""Paths on the host and inside a sandbox, each turned into the other by the mount plan. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from moat_nb.planning.mounts import Bind, EmptyFile, Mount, MountPlan, Volume

__all__ = ["can_write", "covered", "hidden", "hidden_files", "points", "to_host", "to_sandbox"]


def to_sandbox(path: str, plan: MountPlan) -> str | None:
    """Where a host path stands inside; None when no bind shows it, or an exclude covers it."""
    return next((inside for _, inside in _shown_at(path, plan)), None)


def can_write(path: str, plan: MountPlan) -> bool:
    """Whether a host path shows inside where it is not read-only."""
    return any(not m.read_only and not m.copy_of for m, _ in _shown_at(path, plan))


def _shown_at(path: str, plan: MountPlan) -> Iterator[tuple[Bind | Volume, str]]:
    """Where a host path stands inside, or a copy of it does, by which mount; the mount of most of
    it first."""
    host = PurePosixPath(posixpath.normpath(path))
    by_target = _by_target(plan)
    shown = [m for m in plan if isinstance(m, (Bind, Volume)) and _known_as(m)]
    for mount in sorted(shown, key=lambda mount: len(_known_as(mount)), reverse=True):
        if host.is_relative_to(_known_as(mount)):
            inside = posixpath.join(mount.target, host.relative_to(_known_as(mount)))
            inside = posixpath.normpath(inside)
            if _on_top(inside, by_target) is mount:
                yield mount, inside


def _known_as(mount: Bind | Volume) -> str:
    """Users and clients name their own files, whichever copy of them a sandbox has."""
    return mount.copy_of or (mount.source if isinstance(mount, Bind) else "")


def to_host(path: str, cwd: str, plan: MountPlan) -> str | None:
    """The host path behind a path inside, relative ones taken from ``cwd``; None when it lies in
    an exclude, a volume or the image."""
    inside = posixpath.normpath(posixpath.join(cwd, path))
    return _behind(inside, _on_top(inside, _by_target(plan)))


def covered(plan: MountPlan) -> tuple[str, ...]:
    """The host paths that mounts of the plan stand on: those that lie in a bind's target."""
    return _points(plan, plan.mounts)


def hidden(plan: MountPlan) -> tuple[str, ...]:
    """The host paths that the plan's excludes stand on."""
    return _points(plan, plan.excludes)


def hidden_files(plan: MountPlan) -> frozenset[str]:
    """Those of :func:`hidden` that an empty file covers."""
    return frozenset(_points(plan, (m for m in plan.excludes if isinstance(m, EmptyFile))))


def points(plan: MountPlan, mounts: Iterable[Mount]) -> Iterator[tuple[str, Mount]]:
    """The host path that each of ``mounts`` stands on, of those that lie in a bind's target."""
    by_target = _by_target(plan)
    for mount in mounts:
        target = posixpath.normpath(mount.target)
        # What it stands on is on top at its parent: targets are different.
        below = _on_top(posixpath.dirname(target), by_target) if target != "/" else None
        if (path := _behind(target, below)) is not None:
            yield path, mount


def _points(plan: MountPlan, mounts: Iterable[Mount]) -> tuple[str, ...]:
    return tuple(path for path, _ in points(plan, mounts))


def _behind(inside: str, mount: Mount | None) -> str | None:
    if not isinstance(mount, Bind):
        return None
    relative = PurePosixPath(inside).relative_to(mount.target)
    return posixpath.normpath(posixpath.join(mount.source, relative))


def _by_target(plan: MountPlan) -> dict[str, Mount]:
    return {posixpath.normpath(mount.target): mount for mount in plan}


def _on_top(inside: str, by_target: Mapping[str, Mount]) -> Mount | None:
    """The mount that shows ``inside``: a look at each of its parents, however many mounts there
    are."""
    while True:
        if inside in by_target or inside == "/":
            return by_target.get(inside)
        inside = posixpath.dirname(inside)
