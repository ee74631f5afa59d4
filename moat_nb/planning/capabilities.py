"""What a runtime can do, as a value: planning asks this and never which runtime it is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Capabilities"]


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """The defaults are a container engine's on this machine."""

    name: str
    """As users write it."""
    images: bool = True
    """Sandboxes are made of images; else of this machine's own programs."""
    sidecars: bool = True
    """Services can stand in the network namespace of a sandbox."""
    shares_unix_sockets: bool = True
    """A unix socket of this machine that is mounted into a sandbox can be connected to there."""
    own_mount_table: bool = False
    """Another kernel runs there: its mount table tells of filesystems of its own."""
    parents_are_roots: bool = True
    """The directories that it makes inside a tmpfs, for a mount there, are root's."""
    binds_files: bool = True
    """A single file can be mounted, not only a directory."""
    elsewhere: str = ""
    """How to name the machine that it is on, which has none of this one's files; empty for this
    one."""

    grace: float = 0.0
    """Seconds without a sign of the launcher after which a sandbox there must end by itself; 0
    where the end of its stdin is enough."""
    has_network: bool = False
    """Every sandbox has a network there, and only that itself can keep it from leading out."""

    memory: int | None = None
    """Bytes of RAM there; None where it is this machine's, or is not known."""
    cpus: int | None = None
    """The same of its processors."""
    unasked: bool = False
    """Only a file names that machine, and nobody has approved it: nothing was asked of it."""

    @property
    def on_this_host(self) -> bool:
        """Sandboxes are made of the programs that are here."""
        return not self.images and not self.elsewhere

    @property
    def unknown_user(self) -> bool:
        """Kernels run as the user of that machine whom ssh leads to."""
        return bool(self.elsewhere) and not self.images
