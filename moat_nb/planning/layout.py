"""Lays out the mounts of one container: the project's, volumes, excludes, /tmp and HOME."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from moat_nb.config.model import Config, MountEntry, VolumeEntry
from moat_nb.errors import ConfigError
from moat_nb.host.machine import Host, User
from moat_nb.planning.limits import MIB, Limits, share
from moat_nb.planning.mounts import Bind, MountPlan, Tmpfs, Volume, build, with_ways
from moat_nb.planning.protection import protect
from moat_nb.planning.resolve_mounts import resolve_mounts
from moat_nb.planning.spec import HOME

__all__ = ["exclude_size", "lay_out"]


def exclude_size(config: Config, limits: Limits) -> int:
    """Bytes of each tmpfs over an exclude: a full one leaves half of the memory."""
    return min(config.kernel.tmpfs_size_mb * MIB, limits.memory // 2)


def lay_out(
    mounts: Sequence[MountEntry],
    volumes: Sequence[VolumeEntry],
    *,
    config: Config,
    limits: Limits,
    host: Host,
    files: bool = True,
    ways: bool = True,
    user: User | None = None,
    caches: Sequence[Bind] = (),
) -> MountPlan:
    """Look at the filesystem once, and lay out these mounts and volumes, ``caches``, and what every
    container has. ``config`` is the project's; ``files``: whether a single file can be mounted;
    ``ways``: whether directories on the way to a mount need one of their own; ``user``: who is to
    see them, if not the launcher. Raises ConfigError."""
    resolved = resolve_mounts(
        mounts,
        volumes,
        project=config.directory,
        home=host.home,
        exclude_size=exclude_size(config, limits),
        run_directories=host.run_directories,
        approvals=host.approvals,
        files=files,
        max_excludes=config.kernel.max_excludes,
        user=user,
    )
    kept = [_volume(volume, config.name, host) for volume in volumes]
    kernel, memory = config.kernel, limits.memory
    own = (
        Tmpfs(target="/tmp", size=share(kernel.tmp_size_mb, memory), role="tmp"),
        Tmpfs(target=HOME, size=share(kernel.home_size_mb, memory), role="home"),
    )
    where = {entry.target: entry.where for entry in mounts}
    protection = protect(
        (*resolved.mounts, *kept, *own),
        config,
        where,
        files=files,
        environment=host.environment,
    )
    if protection.problems:
        raise ConfigError(protection.problems)
    all_mounts = build((*protection.mounts, *caches))
    return MountPlan(
        mounts=with_ways(all_mounts) if ways else all_mounts,
        missing=resolved.missing,
        keep=tuple(bind.source for bind in (*kept, *caches) if isinstance(bind, Bind)),
        watched=protection.watched,
        notices=(*resolved.notices, *protection.notices),
    )


def _volume(volume: VolumeEntry, project: str, host: Host) -> Bind | Volume:
    if volume.type == "volume":
        name = f"moat-{project}-{volume.name}"
        return Volume(name=name, target=volume.target, read_only=volume.read_only)
    # Without the links that a user has in the way there, as the mounts' sources are.
    source = Path(os.path.realpath(host.data_dir), "volumes", project, volume.name)
    return Bind(source=str(source), target=volume.target, read_only=volume.read_only)
