"""A sandbox on another machine, which has none of this one's files: what would be a mount of a
directory here is a volume there, or is left out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from moat_nb.config.model import Config
from moat_nb.errors import Problem
from moat_nb.planning.caches import CACHES, digest_of
from moat_nb.planning.mounts import Bind, EmptyFile, Mount, MountPlan, Volume, build
from moat_nb.planning.spec import ContainerSpec

__all__ = ["elsewhere_problems", "on_volumes", "workspace_volume"]


HINT = (
    "the workspace is copied there, and `volumes:` are kept there; or use an engine of this machine"
)


def workspace_volume(source: str) -> str:
    """The name there of the copy of a directory here: other users of that engine, and this one's
    other machines, have others."""
    whose = f"{os.uname().nodename}:{os.getuid()}:{source}"
    return f"moat-workspace-{hashlib.sha256(os.fsencode(whose)).hexdigest()[:32]}"


def on_volumes(mounts: MountPlan, config: Config) -> MountPlan:
    """What a machine elsewhere is told. What is excluded is not copied, so an excluded file needs
    no cover; and nothing of this machine runs what a copy holds, so nothing in it is protected."""
    kept = [placed for mount in mounts if (placed := _placed(mount, mounts, config)) is not None]
    return replace(mounts, mounts=build(kept), missing=(), keep=(), watched=())


def _placed(mount: Mount, mounts: MountPlan, config: Config) -> Mount | None:
    if isinstance(mount, EmptyFile):
        return None
    if not isinstance(mount, Bind):
        return mount
    role: Literal["project", "cache"] = "project"
    if mount.copy_of:
        name = workspace_volume(mount.copy_of)
    elif mount.role == "cache":
        role = "cache"
        (cache,) = (name for name, target in CACHES.items() if target == mount.target)
        name = f"moat-cache-{digest_of(str(config.directory))[:16]}-{cache}"
    elif mount.source in mounts.keep:
        name = f"moat-{config.name}-{os.path.basename(mount.source)}"  # noqa: PTH119
    elif mount.role == "project":
        return mount  # which is refused
    else:
        return None
    return Volume(
        name=name,
        target=mount.target,
        read_only=mount.read_only,
        role=role,
        copy_of=mount.copy_of,
    )


def elsewhere_problems(
    config: Config, elsewhere: str, specs: Sequence[ContainerSpec]
) -> Iterator[Problem]:
    """What ``specs`` ask for of this machine."""
    for spec in specs:
        binds = (mount for mount in spec.mounts if isinstance(mount, Bind))
        refused = [
            (config.place_of(bind.target), f"{elsewhere} has no {bind.source} of this machine")
            for bind in binds
        ]
        if spec.role == "sidecar" and spec.has_way_out:
            words = f"{spec.name}: services at {elsewhere} have no way to models that they pull"
            refused.append((config.place("kernel.services"), words))
        for where, what in refused:
            yield Problem(where=where, what=what, hint=HINT, supported=False)
