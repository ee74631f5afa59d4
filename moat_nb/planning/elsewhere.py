"""A sandbox on another machine, which has none of this one's files: what would be a mount of a
directory here is a volume there, or is left out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from moat_nb.config.model import Config
from moat_nb.config.mounts import git_problems
from moat_nb.errors import Problem
from moat_nb.planning.caches import CACHES
from moat_nb.planning.mounts import Bind, EmptyFile, Mount, MountPlan, Volume, build
from moat_nb.planning.spec import ContainerSpec

__all__ = [
    "ID",
    "WHERE",
    "copy_id",
    "elsewhere_problems",
    "on_volumes",
    "refused_elsewhere",
    "workspace_volume",
]

ID, WHERE = "id", "where"
"""Files in the directory of a copy: what it is called there, and the address of that engine."""

_HEX = re.compile(r"[0-9a-f]{16}")


HINT = (
    "the workspace is copied there, and `volumes:` are kept there; or use an engine of this machine"
)


def copy_id(directory: Path) -> str:
    """Of the copy that is kept in a directory; nobody else's volumes are called by it. ``new``
    until a start has made one."""
    try:
        text = (directory / ID).read_text()
    except OSError:
        return "new"
    return text if _HEX.fullmatch(text) else "new"


def workspace_volume(directory: Path) -> str:
    """The name there of the copy that is kept in ``directory`` here; no volume that a file names
    begins so."""
    return f"moat.workspace.{copy_id(directory)}"


def on_volumes(mounts: MountPlan, config: Config, directory: Path) -> MountPlan:
    """What a machine elsewhere is told; ``directory`` is where its copy of the workspace is kept.

    What is excluded is not copied, and a start is refused where a file that is excluded since is in
    the copy, so it needs no cover, which no engine has. Nothing of this machine runs what a copy
    holds, so nothing in it is protected.
    """
    placed = (_placed(mount, mounts, config, directory) for mount in mounts)
    kept = [mount for mount in placed if mount is not None]
    return replace(mounts, mounts=build(kept), missing=(), keep=(), watched=())


def _placed(mount: Mount, mounts: MountPlan, config: Config, directory: Path) -> Mount | None:
    if isinstance(mount, EmptyFile):
        return None
    if not isinstance(mount, Bind):
        return mount
    role: Literal["project", "cache"] = "project"
    if mount.copy_of:
        name = workspace_volume(directory)
    elif mount.role == "cache":
        role = "cache"
        (cache,) = (name for name, target in CACHES.items() if target == mount.target)
        name = f"moat.cache.{copy_id(directory)}.{cache}"
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


def refused_elsewhere(config: Config, elsewhere: str) -> Iterator[Problem]:
    """What a copy there cannot honour: the file has not asked for any. Nothing where ``elsewhere``
    is empty."""
    if not elsewhere:
        return
    for problem in git_problems(config.mounts, "volume"):
        what = problem.what.replace("workspace.mode: volume", f"an engine at {elsewhere}")
        yield replace(problem, what=what)
    if config.kernel.workspace == "notebook":
        yield Problem(
            where=config.place("kernel.workspace"),
            what=f"kernel.workspace: notebook, and with it grading, has no copies at {elsewhere}",
            hint="use an engine of this machine, or bubblewrap",
            supported=False,
        )


def elsewhere_problems(
    config: Config, elsewhere: str, specs: Sequence[ContainerSpec]
) -> Iterator[Problem]:
    """What ``specs`` ask for of this machine. Nothing where ``elsewhere`` is empty."""
    for spec in specs if elsewhere else ():
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
