"""The hardening of every container, and what a user loosened of it.

The defaults are the table of docs/security.md; each is tried against real attacks in
tests/integration/.
"""

from __future__ import annotations

from dataclasses import dataclass

from moat_nb.text.tables import amount

__all__ = ["MIB", "Hardening", "Limits", "limits_in_words", "share"]

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """``memory`` counts tmpfs too, and swap is not given on top of it."""

    memory: int
    """Bytes."""
    pids: int = 512
    cpus: float | None = None
    shm: int = 64 * MIB
    """Bytes of /dev/shm."""
    ulimits: tuple[tuple[str, int, int], ...] = (("core", 0, 0), ("nofile", 4096, 4096))
    """``(name, soft, hard)``, by name; -1 means unlimited."""
    required: bool = False
    """No start without a limit of memory that holds for all of it."""


@dataclass(frozen=True, kw_only=True)
class Hardening:
    cap_drop: tuple[str, ...] = ("ALL",)
    no_new_privileges: bool = True
    read_only_root: bool = True
    isolation: str | None = None
    """``gvisor``: another kernel between the sandbox and the host's."""

    def loosened(self) -> tuple[str, ...]:
        """What a user gave up of the default, in words for ``plan``."""
        words = []
        if self.cap_drop != ("ALL",):
            words.append(f"capabilities dropped: only {', '.join(self.cap_drop) or 'none'}")
        if not self.no_new_privileges:
            words.append("programs may gain privileges (setuid)")
        if not self.read_only_root:
            words.append("the root filesystem can be written")
        return tuple(words)


def share(asked_mb: int | None, memory: int) -> int:
    """Bytes of one tmpfs of a sandbox with so many bytes of memory, which it counts as: half of it
    unless asked for, as the kernel's own default is of a machine's."""
    return memory // 2 if asked_mb is None else min(asked_mb * MIB, memory)


def limits_in_words(limits: Limits) -> str:
    words = [f"memory {amount(limits.memory)}", f"{limits.pids} processes"]
    words.append("all CPUs" if limits.cpus is None else f"{limits.cpus:g} CPUs")
    words.append(f"/dev/shm {amount(limits.shm)}")
    for name, soft, hard in limits.ulimits:
        values = (("unlimited" if value < 0 else str(value)) for value in (soft, hard))
        words.append(f"{name} {'/'.join(dict.fromkeys(values))}")
    return ", ".join(words)
