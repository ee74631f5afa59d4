"""The mount plan: what stands where in a sandbox, as pure data.

One builder serves the kernel's container, every sidecar and every runtime. Renderers take the
order as it is, as an engine may mount in the given order: parents stand before their children, so
that none hides another. At one depth, where the order changes nothing, what is excluded or scratch
(tmpfs, empty files) stands behind binds and volumes, and the rest goes by the target's name.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from moat_nb.text.summary import Summary, Table, mimebundle
from moat_nb.text.tables import amount

__all__ = [
    "MOUNT_COLUMNS",
    "TMPFS_MODE",
    "Bind",
    "EmptyFile",
    "Mount",
    "MountPlan",
    "MountPoint",
    "Tmpfs",
    "Volume",
    "build",
    "few",
    "is_below",
    "is_within",
    "kind",
    "mount_points",
    "mount_row",
    "mount_rows",
    "of_mounts",
    "with_ways",
]

TMPFS_MODE = 0o1777
"""The mode of every tmpfs: whoever the kernel runs as can write, as in /tmp. A tmpfs of the
engine's own making is 0755 root, which the kernel's user cannot write to."""


@dataclass(frozen=True, kw_only=True)
class Bind:
    """A host directory or file. ``source`` is an absolute host path.

    ``role``: ``interpreter`` is what kernels run on where there is no image; nobody asked for it.
    ``protected`` is what another bind shows there already, mounted over itself read-only;
    ``pin`` the same, writable: what is mounted cannot be renamed, so what is protected below it
    stays where it is. ``git`` is the repository that the workspace is a worktree of. ``cache`` is
    what ``kernel.cache`` keeps for the project's next sandboxes.
    """

    source: str
    target: str
    read_only: bool = False
    role: Literal["project", "interpreter", "protected", "pin", "git", "cache"] = "project"
    copy_of: str = ""
    """The host directory that ``source`` is a copy of, of which nothing acts on the host."""


@dataclass(frozen=True, kw_only=True)
class Volume:
    """An engine's named volume. ``cache`` is what ``kernel.cache`` keeps on an engine elsewhere."""

    name: str
    target: str
    read_only: bool = False
    role: Literal["project", "cache"] = "project"
    copy_of: str = ""
    """The host directory that an engine elsewhere has a copy of."""


@dataclass(frozen=True, kw_only=True)
class Tmpfs:
    """A tmpfs of mode :data:`TMPFS_MODE`, exec, nosuid, nodev; ``size`` in bytes.

    ``role`` is what it is for: an exclude's promise is proved at every start, a cover keeps the
    sandbox from a directory of the host's, the others are the sandbox's own scratch.
    """

    target: str
    size: int
    role: Literal["exclude", "home", "tmp", "data", "cover", "sockets"] = "exclude"
    way: bool = False
    """A directory inside one of that role, on the way to another mount: see :func:`with_ways`."""


@dataclass(frozen=True, kw_only=True)
class EmptyFile:
    """An excluded file: covered by an empty one that cannot be written."""

    target: str


Mount: TypeAlias = Bind | Volume | Tmpfs | EmptyFile


@dataclass(frozen=True, kw_only=True)
class MountPoint:
    """A host path below ``root`` that a mount needs and that is missing.

    An engine would make it as root, and on a read-only bind it would fail; so it is made
    beforehand as the user, and removed at the end if it is still empty and still ours.
    """

    root: str
    relative: str
    kind: Literal["directory", "file"] = "directory"


@dataclass(frozen=True, kw_only=True)
class MountPlan:
    mounts: tuple[Mount, ...]
    missing: tuple[MountPoint, ...] = ()
    """Mount points to make on the host, parents first."""
    keep: tuple[str, ...] = ()
    """Host directories of persistent bind volumes, made when missing and never removed."""
    watched: tuple[str, ...] = ()
    """Host directories where a sandbox could make a protected name that is not there yet."""
    notices: tuple[str, ...] = ()
    """What a start is to say of them."""

    def __iter__(self) -> Iterator[Mount]:
        return iter(self.mounts)

    @property
    def excludes(self) -> tuple[Tmpfs | EmptyFile, ...]:
        """What must be proved before the sandbox counts as started."""
        return tuple(
            mount
            for mount in self.mounts
            if isinstance(mount, EmptyFile)
            or (isinstance(mount, Tmpfs) and mount.role == "exclude" and not mount.way)
        )

    @property
    def ways(self) -> tuple[Tmpfs, ...]:
        """What must be proved to be the kernel's user's."""
        return tuple(mount for mount in self.mounts if isinstance(mount, Tmpfs) and mount.way)

    @property
    def written_volumes(self) -> tuple[Volume, ...]:
        return tuple(m for m in self.mounts if isinstance(m, Volume) and not m.read_only)

    def _repr_mimebundle_(self, **options: object) -> dict[str, str]:
        return mimebundle(of_mounts(self))

    def with_mounts(self, *more: Mount) -> MountPlan:
        """The same plan with more mounts, each in its place."""
        return replace(self, mounts=build((*self.mounts, *more)))

    @property
    def private(self) -> tuple[str, ...]:
        """Those of :attr:`keep` that are for their owner alone."""
        return tuple(m.source for m in self.mounts if isinstance(m, Bind) and m.role == "cache")

    @property
    def protected(self) -> tuple[str, ...]:
        """The host paths that are read-only inside though their directory is not."""
        return tuple(
            mount.source
            for mount in self.mounts
            if isinstance(mount, Bind) and mount.role == "protected"
        )


def is_below(target: str, parent: str) -> bool:
    """Whether ``target`` lies strictly below ``parent``; both absolute and normalised."""
    return target != parent and target.startswith(parent.rstrip("/") + "/")


def is_within(path: str, *trees: str) -> bool:
    """Whether ``path`` is one of ``trees`` or lies below one; all absolute and normalised."""
    return any(path == tree or is_below(path, tree) for tree in trees)


def build(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """The one order of mounts.

    Raises ValueError when two mounts have one target: which of the two would win is up to the
    engine, and the files' validators have refused it long before.
    """
    ordered = sorted(mounts, key=_place)
    seen: set[str] = set()
    for mount in ordered:
        if mount.target in seen:
            raise ValueError(f"two mounts at {mount.target}")
        seen.add(mount.target)
    return tuple(ordered)


def with_ways(mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """The mounts, and a tmpfs at each directory between a tmpfs and a mount inside it.

    An engine makes such directories as root's, and the kernel's user could write nothing beside the
    mount: no cache in ``~/.cache`` where ``~/.cache/huggingface`` is a mount.
    """
    there = {mount.target: mount for mount in mounts}
    ways: dict[str, Tmpfs] = {}
    for target in there:
        between: list[str] = []
        parent = target
        while parent != "/":
            parent = posixpath.dirname(parent)
            above = there.get(parent)
            if isinstance(above, Tmpfs) and above.role != "cover":
                ways.update((way, replace(above, target=way, way=True)) for way in between)
            if above is not None:
                break
            between.append(parent)
    return build((*mounts, *ways.values()))


def _place(mount: Mount) -> tuple[int, bool, str]:
    covers = isinstance(mount, (Tmpfs, EmptyFile))
    depth = 0 if mount.target == "/" else mount.target.count("/")
    return depth, covers, mount.target


def of_mounts(plan: MountPlan) -> Summary:
    return Summary(
        title=f"Mount plan, {len(plan.mounts)} mounts",
        tables=(
            Table(title="mounts, in order", columns=MOUNT_COLUMNS, rows=tuple(mount_rows(plan))),
            Table(
                title="made on the host at the start, where missing",
                columns=("path", "at the end"),
                rows=tuple(mount_points(plan)),
            ),
        ),
    )


SHOWN = 40
"""Excludes that a table shows: globs match thousands."""


def few(plan: MountPlan) -> tuple[list[Mount], int]:
    """The mounts that a table shows, and of how many more excludes it says only their number."""
    left = {mount.target for mount in plan.excludes[SHOWN:]}
    return [mount for mount in plan if mount.target not in left], len(left)


def mount_rows(plan: MountPlan) -> list[tuple[str, ...]]:
    """The :data:`MOUNT_COLUMNS` of all that a table shows."""
    shown, left = few(plan)
    rows: list[tuple[str, ...]] = [mount_row(mount) for mount in shown]
    return [*rows, (f"{left} more excludes", "", "", "")] if left else rows


MOUNT_COLUMNS = ("target", "type", "mode", "source or size")


def kind(mount: Mount) -> str:
    names = {Bind: "bind", Volume: "volume", Tmpfs: "tmpfs", EmptyFile: "empty file"}
    return names[type(mount)]


def mount_row(mount: Mount) -> tuple[str, str, str, str]:
    """Its :data:`MOUNT_COLUMNS`."""
    if isinstance(mount, Tmpfs):
        purpose = "" if mount.role == "exclude" else f" ({mount.role})"
        purpose = " (on the way to a mount)" if mount.way else purpose
        return mount.target, "tmpfs", f"{TMPFS_MODE:o} rw", amount(mount.size) + purpose
    if isinstance(mount, EmptyFile):
        return mount.target, kind(mount), "ro", "covers an excluded file"
    mode = "ro" if mount.read_only else "rw"
    if isinstance(mount, Volume):
        purpose = f" (copy of {mount.copy_of})" if mount.copy_of else ""
        return mount.target, kind(mount), mode, mount.name + purpose
    purpose = {"project": "", "interpreter": " (this Python)"}.get(mount.role, f" ({mount.role})")
    return mount.target, kind(mount), mode, mount.source + purpose


def mount_points(plan: MountPlan) -> Iterator[tuple[str, str]]:
    """Host paths that a start makes, and what becomes of them."""
    for point in plan.missing:
        yield f"{point.root}/{point.relative}", "removed at the end if still empty"
    for directory in plan.keep:
        yield directory, "kept"
