"""What a sandbox can write to, how much of it, and which key raises that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from moat_nb.planning.limits import Limits
from moat_nb.planning.mounts import Bind, MountPlan, Tmpfs, Volume
from moat_nb.text.tables import amount
from moat_nb.text.terminal import one_line

__all__ = ["SHM", "Space", "spaces"]

SHM = "/dev/shm"

_KEYS = {
    "home": "kernel.home_size",
    "tmp": "kernel.tmp_size",
    "exclude": "kernel.tmpfs_size",
}


@dataclass(frozen=True, kw_only=True)
class Space:
    """A place inside that can be full."""

    path: str
    size: int | None
    """Bytes; None where the host's disk is the limit."""
    key: str = ""
    """Of moat.yaml."""

    def __str__(self) -> str:
        if self.size is None:
            return one_line(self.path)
        return one_line(f"{self.path} can hold {amount(self.size)} ({self.key})")

    @property
    def full(self) -> str:
        """That it is, in words."""
        if self.size is None:
            return one_line(f"{self.path} is full: the host's disk is")
        held = f"it can hold {amount(self.size)}, which {self.key} raises"
        return one_line(f"{self.path} is full: {held}")


def spaces(mounts: MountPlan, limits: Limits) -> Iterator[Space]:
    """Those of a container, shared memory first."""
    yield Space(path=SHM, size=limits.shm, key="kernel.shm_size")
    for mount in mounts:
        if isinstance(mount, Tmpfs) and mount.role in _KEYS:
            yield Space(path=mount.target, size=mount.size, key=_KEYS[mount.role])
        elif isinstance(mount, (Bind, Volume)) and not mount.read_only and _is_project(mount):
            yield Space(path=mount.target, size=None)


def _is_project(mount: Bind | Volume) -> bool:
    return mount.role == "project"
