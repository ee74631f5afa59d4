"""Whether what is mounted is what was planned.

The plan refuses links, but an engine looks sources up again when it starts a container, as root;
what can be written by another sandbox of the project may be a link to something else by then. So
the mount tables inside are compared with this process's: in both a mount is named by its filesystem
and by a path in that, and what a link led to has another one.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from moat_nb.guest.mountinfo import Mounted, mount_table
from moat_nb.planning.mount_paths import hidden
from moat_nb.planning.mounts import Bind
from moat_nb.planning.spec import ContainerSpec
from moat_nb.sandbox.project import LaunchPlan
from moat_nb.text.terminal import one_line

__all__ = ["Inode", "Source", "inodes_of", "verify_mounts"]

Inode = tuple[int, int]
"""Device and number."""


class Source(NamedTuple):
    """What a mount shows."""

    device: str
    """MAJOR:MINOR of the filesystem."""
    path: str
    """In that filesystem."""
    read_only: bool = False


NOWHERE = Source("", "")


def verify_mounts(
    spec: ContainerSpec, found: Mapping[str, Source], *, comparable: bool = True
) -> str | None:
    """In words, the first bind of ``spec`` whose source another has taken the place of, or that is
    not read-only as it should be.

    ``found`` is what is mounted inside, by mount point; ``comparable`` says whether that names
    filesystems as this machine does, which another kernel (gVisor's, a virtual machine's) does not.
    """
    return next(_swapped(spec, found, mount_table() if comparable else {}), None)


def _swapped(
    spec: ContainerSpec, found: Mapping[str, Source], here: Mapping[str, Mounted]
) -> Iterator[str]:
    for bind in (mount for mount in spec.mounts if isinstance(mount, Bind)):
        wanted = place_of(bind.source, here)
        if wanted is None:
            # The next best: a link that is put there and taken away again in between is not seen.
            if (real := os.path.realpath(bind.source)) != bind.source:
                yield f"{bind.source} is a link to {real} by now; start it again"
        elif (there := found.get(bind.target, NOWHERE))[:2] != wanted[:2]:
            what = there.path or "nothing"
            yield one_line(
                f"{what} is mounted at {bind.target}, where {bind.source} was planned: another "
                "took its place while the sandbox started; start it again"
            )
        elif bind.read_only and not there.read_only:
            yield one_line(f"{bind.target} can be written, and was to be read-only")


def place_of(path: str, table: Mapping[str, Mounted]) -> Source | None:
    """What ``path``, which has no link in it, is in its filesystem; None where the mount that it
    stands on is not to be seen, as in a chroot."""
    for parent in (path, *map(str, PurePosixPath(path).parents)):
        if (mounted := table.get(parent)) is not None:
            below = posixpath.relpath(path, parent)
            return Source(mounted.device, posixpath.normpath(posixpath.join(mounted.root, below)))
    return None


def inodes_of(plan: LaunchPlan) -> dict[str, Inode | None]:
    """Of the binds' sources, and of what is covered in the sidecars, where no guest proves it
    again: so that a directory in another's place is noticed."""
    specs = (plan.spec, *plan.sidecar_specs)
    binds = (mount for spec in specs for mount in spec.mounts if isinstance(mount, Bind))
    covers = (path for spec in plan.sidecar_specs for path in hidden(spec.mounts))
    return {path: _inode(path) for path in (*(bind.source for bind in binds), *covers)}


def _inode(path: str) -> Inode | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
