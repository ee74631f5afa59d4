"""ContainerSpec: everything an engine must be told to start one container, as a value."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from moat_nb.config.mounts import HOME
from moat_nb.egress.policy.network_policy import NetworkPolicy
from moat_nb.guest.settings import unhurried, with_sockets
from moat_nb.host.machine import User
from moat_nb.host.run_directory import RunDir
from moat_nb.planning.limits import Hardening, Limits
from moat_nb.planning.mounts import Bind, Mount, MountPlan, Tmpfs
from moat_nb.planning.network import PLACE

__all__ = [
    "GUEST_PATH",
    "HOME",
    "LABEL",
    "SERVICE_LABEL",
    "SOCKETS_LABEL",
    "VENV",
    "ContainerSpec",
    "Instance",
    "SandboxSpec",
]

GUEST_PATH = "/run/moat/guest"
"""The directory of the guest inside the sandbox, read-only."""

VENV = f"{HOME}/.venv"
"""The sandbox's own virtual environment, which the guest makes: installers write there."""

LABEL = "moat.nb"
SERVICE_LABEL = f"{LABEL}.service"
SOCKETS_LABEL = f"{LABEL}.sockets"
"""Of a container that does not mount the sockets' directory: which one is its start's."""

SOCKETS_SIZE = 16 << 20
"""Bytes of a tmpfs for sockets, and for certificates."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """What makes one start of a spec different from the next."""

    id: str
    """8 hexadecimal digits."""
    sockets: str
    """A host directory for the kernels' sockets, bound at the same path inside."""
    network: str
    """A host directory for the way out, bound read-only where there is one."""
    accounts: str
    """A host directory for ``passwd`` and ``group``."""
    owner: str
    """``pid:start-time:boot-id`` of the launcher."""
    spare: bool = False
    """Started ahead of need, so that nobody waits for it."""

    @classmethod
    def of(cls, run_dir: RunDir, owner: str, *, spare: bool = False) -> Instance:
        """The start whose directory is ``run_dir``."""
        return cls(
            id=run_dir.id,
            sockets=str(run_dir.sockets),
            network=str(run_dir.network),
            accounts=str(run_dir.accounts),
            owner=owner,
            spare=spare,
        )


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    name: str
    role: Literal["kernel", "sidecar"]
    project: str
    """The directory of moat.yaml, for the labels."""
    runtime: str
    image: str | None
    """A tag or digest; None on a runtime that uses the host's own files (bubblewrap)."""
    command: tuple[str, ...]
    user: User
    keep_user: bool = False
    """The user is one that the image knows, so a rootless engine's 0 must not take its place."""
    accounts: bool = False
    """/etc/passwd and /etc/group are files of the start's, which know the user."""
    env: tuple[tuple[str, str], ...]
    """Never a secret: those travel over the attach stream, with the kernel that needs them."""
    workdir: str
    mounts: MountPlan
    limits: Limits
    hardening: Hardening = field(default_factory=Hardening)
    network: Literal["none", "bridge", "sandbox"] = "none"
    """``none`` is loopback alone, ``bridge`` the engine's ordinary one, ``sandbox`` the kernels',
    which each sidecar shares."""
    hosts: tuple[str, ...] = ()
    """Names that stand for 127.0.0.1 inside: the sidecars'."""
    egress: NetworkPolicy | None = None
    """What may be reached through the launcher's proxy."""
    trust: tuple[str, ...] = ()
    """Host files with certificates; programs inside are to trust what these hold."""
    gpus: Literal["all"] | int | None = None
    dns: tuple[str, ...] = ()
    ports: tuple[tuple[str, int], ...] = ()
    """By name, the ports inside that lead here from ports of this machine."""
    tunnel: bool = False
    """The attach stream carries all connections: launcher and sandbox share no directory."""
    grace: float = 0.0
    """Seconds without a sign of the launcher after which it ends by itself; 0 for none."""
    closed: bool = False
    """It has a network, which must lead nowhere: the guest tries."""
    elsewhere: bool = False
    """Its machine has none of this one's files: the guest travels with the container."""
    labels: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()
    """What the user must be told at a start: the choice of runtime, what can be reached, limits."""

    @property
    def digest(self) -> str:
        """A hash of the spec. A start depends on more: see ``key_of`` in ``sandbox/pool.py``."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def has_way_out(self) -> bool:
        # Certificates are mounted there too, also with policy bridge.
        return self.egress is not None or self.network == "bridge" or bool(self.trust)

    def loosened(self) -> tuple[str, ...]:
        """What a user gave up of the default, in words for ``plan``."""
        words = ("the engine's own network",) if self.network == "bridge" else ()
        return (*self.hardening.loosened(), *words)

    def instantiate(self, instance: Instance) -> ContainerSpec:
        """The spec of one start: named, labelled, and with its sockets' directory."""
        labels = {
            f"{LABEL}.sandbox": instance.id,
            f"{LABEL}.role": self.role,
            f"{LABEL}.project": self.project,
            f"{LABEL}.owner": instance.owner,
            f"{LABEL}.spec": self.digest,
        }
        mounts = self.mounts
        if self.role == "sidecar" or self.tunnel:
            # It does not mount the sockets' directory; this label says whose it is.
            labels[SOCKETS_LABEL] = instance.sockets
        if self.role == "kernel":
            mounts = mounts.with_mounts(self._met(instance.sockets, instance.sockets))
        if self.accounts:
            for name in ("passwd", "group"):
                source = f"{instance.accounts}/{name}"
                bind = Bind(source=source, target=f"/etc/{name}", read_only=True)
                mounts = mounts.with_mounts(bind)
        command = self.command
        if self.ports:
            command = tuple(with_sockets(command, instance.sockets))
        if instance.spare and self.role == "kernel":
            command = tuple(unhurried(command))
        if self.has_way_out:
            mounts = mounts.with_mounts(self._met(instance.network, PLACE, read_only=True))
        return replace(
            self,
            name=f"moat-{self.name}-{instance.id}",
            command=command,
            labels=tuple(sorted({**dict(self.labels), **labels}.items())),
            mounts=mounts,
        )

    def _met(self, source: str, target: str, *, read_only: bool = False) -> Mount:
        """Where launcher and sandbox meet: a directory of the launcher's, which may be read-only
        inside, or with the tunnel one of the sandbox's own."""
        if self.tunnel:
            return Tmpfs(target=target, size=SOCKETS_SIZE, role="sockets")
        return Bind(source=source, target=target, read_only=read_only)


@dataclass(frozen=True, kw_only=True)
class SandboxSpec:
    """All containers of one sandbox. They share the kernels' network: one loopback."""

    kernel: ContainerSpec
    sidecars: tuple[ContainerSpec, ...] = ()

    @property
    def containers(self) -> tuple[ContainerSpec, ...]:
        """The kernels' first."""
        return (self.kernel, *self.sidecars)

    def instantiate(self, instance: Instance) -> SandboxSpec:
        """The spec of one start."""
        return SandboxSpec(
            kernel=self.kernel.instantiate(instance),
            sidecars=tuple(sidecar.instantiate(instance) for sidecar in self.sidecars),
        )
