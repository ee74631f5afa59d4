"""What a sandbox is at this moment, gathered as a value; :mod:`moat_nb.show.sheets` shows it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moat_nb.errors import SandboxGone
from moat_nb.link import Exit, MountProof
from moat_nb.planning.network import notice
from moat_nb.planning.spec import ContainerSpec
from moat_nb.vitals import Sample, Vitals

if TYPE_CHECKING:
    from moat_nb.sandbox import Sandbox

__all__ = ["KernelView", "SandboxView", "SidecarView", "look_at"]


@dataclass(frozen=True, kw_only=True)
class KernelView:
    pid: int
    """In the sandbox."""
    samples: tuple[Sample, ...] = ()
    ended: Exit | None = None


@dataclass(frozen=True, kw_only=True)
class SidecarView:
    name: str
    image: str
    state: str
    """In a word or a few, for people."""
    running: bool = True


@dataclass(frozen=True, kw_only=True)
class SandboxView:
    id: str
    name: str
    """Of the project, as moat.yaml or its directory has it."""
    spec: ContainerSpec
    network: str
    """What can be reached, in words."""
    gone: str | None = None
    """Why it ended; None while it runs."""
    answers: bool = True
    """Whether the guest told what only it knows: the use of mounts, memory and CPU."""
    proofs: tuple[MountProof, ...] = ()
    memory: int | None = None
    """Bytes in use, its tmpfs too; None where nothing tells."""
    kernels: tuple[KernelView, ...] = ()
    sidecars: tuple[SidecarView, ...] = ()


def look_at(sandbox: Sandbox) -> SandboxView:
    """Ask the sandbox; one that has ended is shown as it was, and why it ended."""
    vitals, answers = Vitals(), False
    proofs: tuple[MountProof, ...] = ()
    with suppress(SandboxGone):
        proofs, vitals = sandbox.mounts(), sandbox.vitals()
        answers = True
    return SandboxView(
        id=sandbox.id,
        name=sandbox.config.name,
        spec=sandbox.spec,
        network=notice(sandbox.config, sandbox.spec.egress).removeprefix("network: "),
        gone=sandbox.gone,
        answers=answers,
        proofs=proofs,
        memory=vitals.memory,
        kernels=tuple(
            KernelView(
                pid=process.spawned.result(),
                samples=vitals.kernels.get(process.id, ()),
                ended=process.poll(),
            )
            for process in sandbox.kernels
        ),
        sidecars=tuple(
            SidecarView(
                name=sidecar.name,
                image=str(sidecar.spec.image),
                state="running" if sidecar.gone is None else sidecar.gone.partition("\n")[0],
                running=sidecar.gone is None,
            )
            for sidecar in sandbox.sidecars
        ),
    )
