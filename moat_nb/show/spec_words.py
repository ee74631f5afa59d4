"""A spec's mounts and limits in words: for ``moat-nb plan``, and for what a notebook shows."""

from __future__ import annotations

from collections.abc import Iterator

from moat_nb.mounts import TMPFS_MODE, Bind, EmptyFile, Mount, MountPlan, Tmpfs, Volume
from moat_nb.security import Limits
from moat_nb.text.tables import amount

__all__ = ["MOUNT_COLUMNS", "kind", "limits_in_words", "mount_points", "mount_row"]

MOUNT_COLUMNS = ("target", "type", "mode", "source or size")


def kind(mount: Mount) -> str:
    names = {Bind: "bind", Volume: "volume", Tmpfs: "tmpfs", EmptyFile: "empty file"}
    return names[type(mount)]


def mount_row(mount: Mount) -> tuple[str, str, str, str]:
    """Its :data:`MOUNT_COLUMNS`."""
    if isinstance(mount, Tmpfs):
        purpose = "" if mount.role == "exclude" else f" ({mount.role})"
        return mount.target, "tmpfs", f"{TMPFS_MODE:o} rw", amount(mount.size) + purpose
    if isinstance(mount, EmptyFile):
        return mount.target, kind(mount), "ro", "covers an excluded file"
    mode = "ro" if mount.read_only else "rw"
    return mount.target, kind(mount), mode, mount.source if isinstance(mount, Bind) else mount.name


def mount_points(plan: MountPlan) -> Iterator[tuple[str, str]]:
    """Host paths that a start makes, and what becomes of them."""
    for point in plan.missing:
        yield f"{point.root}/{point.relative}", "removed at the end if still empty"
    for directory in plan.keep:
        yield directory, "kept"


def limits_in_words(limits: Limits) -> str:
    words = [f"memory {amount(limits.memory)}", f"{limits.pids} processes"]
    words.append("all CPUs" if limits.cpus is None else f"{limits.cpus:g} CPUs")
    words.append(f"/dev/shm {amount(limits.shm)}")
    for name, soft, hard in limits.ulimits:
        values = (("unlimited" if value < 0 else str(value)) for value in (soft, hard))
        words.append(f"{name} {'/'.join(dict.fromkeys(values))}")
    return ", ".join(words)
