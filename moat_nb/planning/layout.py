"""Lays out every mount of a sandbox: the project's, its volumes, its excludes, our own."""

from __future__ import annotations

import os
from pathlib import Path

from moat_nb.config.model import Config
from moat_nb.host.machine import Host
from moat_nb.planning.limits import MIB, Limits
from moat_nb.planning.mounts import Bind, EmptyFile, Mount, MountPlan, Tmpfs, Volume, build
from moat_nb.planning.resolve_mounts import survey
from moat_nb.planning.spec import HOME

SCRATCH_MB = 512
"""MiB of /tmp and of HOME."""


def make_mounts(config: Config, host: Host, limits: Limits) -> MountPlan:
    """Look at the filesystem once, and lay everything out."""
    found = survey(config, home=host.home, run_directories=host.run_directories)
    size = min(config.kernel.tmpfs_size_mb * MIB, limits.memory // 2)
    scratch = min(SCRATCH_MB * MIB, limits.memory // 2)
    mounts: list[Mount] = [*found.binds]
    keep = []
    for volume in config.volumes:
        if volume.type == "bind":
            # Without the links that a user has in the way there, as the mounts' sources are.
            data = os.path.realpath(host.data_dir)
            source = str(Path(data) / "volumes" / config.name / volume.name)
            keep.append(source)
            mounts.append(Bind(source=source, target=volume.target, read_only=volume.read_only))
        else:
            name = f"moat-{config.name}-{volume.name}"
            mounts.append(Volume(name=name, target=volume.target, read_only=volume.read_only))
    mounts += [
        Tmpfs(target=cover.target, size=size)
        if cover.kind == "directory"
        else EmptyFile(target=cover.target)
        for cover in found.covers
    ]
    mounts.append(Tmpfs(target="/tmp", size=scratch, role="tmp"))
    mounts.append(Tmpfs(target=HOME, size=scratch, role="home"))
    return MountPlan(mounts=build(mounts), missing=found.missing, keep=tuple(keep))
