"""Paths on the host and inside a sandbox, each turned into the other by the mount plan. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from pathlib import PurePosixPath

from moat_nb.planning.mounts import Bind, Mount, MountPlan

__all__ = ["covered", "hidden", "to_host", "to_sandbox"]


def to_sandbox(path: str, plan: MountPlan) -> str | None:
    """Where a host path stands inside; None when no bind shows it, or an exclude covers it."""
    host = PurePosixPath(posixpath.normpath(path))
    binds = [mount for mount in plan if isinstance(mount, Bind)]
    for bind in sorted(binds, key=lambda bind: len(bind.source), reverse=True):
        if host.is_relative_to(bind.source):
            inside = posixpath.join(bind.target, host.relative_to(bind.source))
            inside = posixpath.normpath(inside)
            if _on_top(inside, plan) is bind:
                return inside
    return None


def to_host(path: str, cwd: str, plan: MountPlan) -> str | None:
    """The host path behind a path inside, relative ones taken from ``cwd``; None when it lies in
    an exclude, a volume or the image."""
    inside = posixpath.normpath(posixpath.join(cwd, path))
    mount = _on_top(inside, plan)
    if not isinstance(mount, Bind):
        return None
    relative = PurePosixPath(inside).relative_to(mount.target)
    return posixpath.normpath(posixpath.join(mount.source, relative))


def covered(plan: MountPlan) -> tuple[str, ...]:
    """The host paths that mounts of the plan stand on: those that lie in a bind's target."""
    return _points(plan, plan.mounts)


def hidden(plan: MountPlan) -> tuple[str, ...]:
    """The host paths that the plan's excludes stand on."""
    return _points(plan, plan.excludes)


def _points(plan: MountPlan, mounts: Iterable[Mount]) -> tuple[str, ...]:
    points = []
    for mount in mounts:
        below = MountPlan(mounts=tuple(other for other in plan if other is not mount))
        point = to_host(mount.target, "/", below)
        if point is not None:
            points.append(point)
    return tuple(points)


def _on_top(inside: str, plan: MountPlan) -> Mount | None:
    covering = [m for m in plan if PurePosixPath(inside).is_relative_to(m.target)]
    return max(covering, key=lambda mount: len(mount.target), default=None)
