"""What a sandbox is at this moment, as a value, and how a notebook and a terminal show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from moat_nb.planning.limits import limits_in_words
from moat_nb.planning.mounts import MOUNT_COLUMNS, EmptyFile, Mount, few, mount_row
from moat_nb.planning.network import notice
from moat_nb.planning.spec import ContainerSpec
from moat_nb.sandbox.guest_client import Exit, Process
from moat_nb.sandbox.mount_proof import MountProof
from moat_nb.sandbox.running import RunningSandbox
from moat_nb.sandbox.sidecar import Sidecar
from moat_nb.sandbox.usage import Sample, Usage
from moat_nb.text.summary import Badge, Cell, Level, Sparkline, Summary, Table
from moat_nb.text.tables import amount

__all__ = [
    "KernelView",
    "SandboxView",
    "SidecarView",
    "kernel_views",
    "of_sandbox",
    "sidecar_views",
    "view_of",
]


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
    ports: tuple[tuple[str, str], ...] = ()
    """By name the URL of each."""


def view_of(
    running: RunningSandbox, proofs: tuple[MountProof, ...], usage: Usage, *, answers: bool
) -> SandboxView:
    """``proofs`` and ``usage`` as the guest told them, where it answers."""
    config = running.plan.config
    return SandboxView(
        id=running.run_dir.id,
        name=config.name,
        spec=running.spec,
        network=notice(config, running.spec.egress).removeprefix("network: "),
        gone=running.guest.gone,
        answers=answers,
        proofs=proofs,
        memory=usage.memory,
        kernels=kernel_views(running.kernels, usage),
        sidecars=sidecar_views(running.sidecars),
        ports=running.ports.urls,
    )


def kernel_views(kernels: Iterable[Process], usage: Usage) -> tuple[KernelView, ...]:
    return tuple(
        KernelView(
            pid=process.spawned.result(),
            samples=usage.kernels.get(process.id, ()),
            ended=process.poll(),
        )
        for process in kernels
    )


def sidecar_views(sidecars: Iterable[Sidecar]) -> tuple[SidecarView, ...]:
    return tuple(
        SidecarView(
            name=sidecar.name,
            image=str(sidecar.spec.image),
            state="running" if sidecar.gone is None else sidecar.gone.partition("\n")[0],
            running=sidecar.gone is None,
        )
        for sidecar in sidecars
    )


def of_sandbox(view: SandboxView) -> Summary:
    proofs = {proof.path: proof for proof in view.proofs}
    return Summary(
        title=f"Sandbox {view.name} ({view.id})",
        mark=_state(view),
        words="\n".join(_words(view)),
        facts=tuple(_facts(view)),
        tables=(
            Table(
                title="mounts",
                columns=(*MOUNT_COLUMNS, "in use"),
                rows=tuple(
                    (*mount_row(mount), _use(mount, proofs)) for mount in few(view.spec.mounts)[0]
                ),
            ),
            Table(
                title="kernels",
                columns=("pid", "state", "memory", "CPU"),
                rows=tuple(map(_kernel, view.kernels)),
            ),
            Table(
                title="sidecars",
                columns=("name", "state", "image"),
                rows=tuple(map(_sidecar, view.sidecars)),
            ),
        ),
    )


def _state(view: SandboxView) -> Badge:
    if view.gone is not None:
        return Badge(level="bad", text="ended")
    if not view.answers:
        return Badge(level="warn", text="running, but its guest does not answer")
    if any(proof.problem for proof in view.proofs):
        return Badge(level="bad", text="running, but an exclude does not hold")
    return Badge(level="good", text="running")


def _words(view: SandboxView) -> Iterator[str]:
    if view.gone is not None:
        yield view.gone
        return  # its kernels ended with it
    for kernel in view.kernels:
        if kernel.ended is not None:
            yield f"the kernel {kernel.pid} ended: {kernel.ended.told}"


def _facts(view: SandboxView) -> Iterator[tuple[str, Cell]]:
    spec = view.spec
    yield "project", spec.project
    yield "runtime", spec.runtime
    yield "image", spec.image or "none: the host's own programs and this Python, read-only"
    yield "user", str(spec.user)
    yield "network", view.network
    for name, url in view.ports:
        yield f"port {name}", url
    yield "limits", limits_in_words(spec.limits)
    if view.memory is not None:
        yield "memory", f"{amount(view.memory)} of {amount(spec.limits.memory)} in use"


def _use(mount: Mount, proofs: Mapping[str, MountProof]) -> Cell:
    proof = proofs.get(mount.target)
    if proof is None:
        return ""
    if proof.problem is not None:
        return Badge(level="bad", text=proof.problem)
    if isinstance(mount, EmptyFile):
        return "covered"
    return f"{amount(proof.used)} of {amount(proof.size)}"


def _kernel(kernel: KernelView) -> tuple[Cell, ...]:
    if kernel.ended is not None:
        level: Level = "none" if kernel.ended.code == 0 else "bad"
        return str(kernel.pid), Badge(level=level, text=str(kernel.ended)), "", ""
    state = Badge(level="good", text="running")
    if not kernel.samples:
        return str(kernel.pid), state, "not measured yet", ""
    rates = [(one.age, one.cpu) for one in kernel.samples if one.cpu is not None]
    memory = _trend(
        amount(kernel.samples[-1].memory), [(one.age, one.memory) for one in kernel.samples]
    )
    cpu = _trend(f"{rates[-1][1]:.0%}" if rates else "not measured yet", rates)
    return str(kernel.pid), state, memory, cpu


def _sidecar(sidecar: SidecarView) -> tuple[Cell, ...]:
    state = Badge(level="good" if sidecar.running else "bad", text=sidecar.state)
    return sidecar.name, state, sidecar.image


def _trend(text: str, points: list[tuple[float, float]]) -> Sparkline:
    seconds = points[0][0] - points[-1][0] if points else 0.0
    return Sparkline(text=text, values=tuple(value for _, value in points), seconds=seconds)
