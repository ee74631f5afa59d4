"""``workspace.mode: volume``: where the copy stands that a project's sandboxes work on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from moat_nb.config.model import WORKSPACE, Config, MountEntry
from moat_nb.errors import Problem
from moat_nb.host.machine import Host
from moat_nb.planning.caches import digest_of

__all__ = ["copy_notices", "copy_problems", "directory_of", "tree_of", "with_copy"]


def directory_of(source: Path, host: Host, elsewhere: str = "") -> Path:
    """What is kept of one directory's copy; no sandbox sees more of it than the tree. Of a copy on
    a machine ``elsewhere``, the tree is what was last brought there, or from there."""
    there = f"-{hashlib.sha256(elsewhere.encode()).hexdigest()[:16]}" if elsewhere else ""
    return host.workspaces / f"{digest_of(str(source))}{there}"


def tree_of(directory: Path) -> Path:
    return directory / "tree"


def with_copy(config: Config, host: Host, elsewhere: str = "") -> Config:
    """The copy in the workspace's place. The first start makes it, and until then the project's
    own directory stands for it in a plan. ``elsewhere``: see :class:`Capabilities`; there it is a
    copy always."""
    if elsewhere:
        # No spare: while one runs there, nothing of the project comes into the copy.
        kernel = replace(config.kernel, pool=0)
        config = replace(config, workspace_mode="volume", kernel=kernel)
    if config.workspace_mode != "volume":
        return config

    def mount(entry: MountEntry) -> MountEntry:
        if entry.target != WORKSPACE:
            return entry
        tree = tree_of(directory_of(entry.source, host, elsewhere))
        source = tree if tree.is_dir() else entry.source
        return replace(entry, source=source, copy_of=entry.source)

    return replace(config, mounts=tuple(map(mount, config.mounts)))


def copy_notices(config: Config, elsewhere: str = "") -> Iterator[str]:
    where = f" at {elsewhere}" if elsewhere else ""
    for entry in config.mounts:
        if entry.copy_of is not None:
            yield (
                f"workspace: a copy of {entry.copy_of}{where}: `moat-nb diff` shows what is "
                "changed in it, `moat-nb pull` brings it back"
            )


def copy_problems(config: Config, elsewhere: str = "") -> Iterator[Problem]:
    """Of a worktree or a submodule the repository lies elsewhere, and names what it was made of."""
    for entry in config.mounts:
        git = (entry.copy_of or entry.source) / ".git"
        if entry.copy_of is not None and os.path.isfile(git):  # noqa: PTH113
            yield Problem(
                where=config.place("workspace"),
                what=f"{elsewhere or 'workspace.mode: volume'} copies no worktree and no "
                f"submodule, and {git} is a file",
                hint="use the repository's main checkout, or "
                + ("an engine of this machine" if elsewhere else "workspace.mode: bind"),
                supported=False,
            )
