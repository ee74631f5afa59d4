"""What a sandbox, a mount plan and doctor's findings look like: pure functions of a value each.

The words for mounts and limits are those of ``moat-nb plan``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from moat_nb.link import MountProof
from moat_nb.planning.limits import limits_in_words
from moat_nb.planning.mounts import (
    MOUNT_COLUMNS,
    EmptyFile,
    Mount,
    mount_row,
)
from moat_nb.show.view import KernelView, SandboxView, SidecarView
from moat_nb.text.summary import Cell, Level, Mark, Sheet, Table, Trend
from moat_nb.text.tables import amount

if TYPE_CHECKING:
    from moat_nb.doctor import Finding

__all__ = ["of_findings", "of_sandbox"]

# ---------------------------------------------------------------- mounts


# ---------------------------------------------------------------- a sandbox


def of_sandbox(view: SandboxView) -> Sheet:
    proofs = {proof.path: proof for proof in view.proofs}
    return Sheet(
        title=f"Sandbox {view.name} ({view.id})",
        mark=_state(view),
        words="\n".join(_words(view)),
        facts=tuple(_facts(view)),
        tables=(
            Table(
                title="mounts",
                columns=(*MOUNT_COLUMNS, "in use"),
                rows=tuple((*mount_row(mount), _use(mount, proofs)) for mount in view.spec.mounts),
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


def _state(view: SandboxView) -> Mark:
    if view.gone is not None:
        return Mark(level="bad", text="ended")
    if not view.answers:
        return Mark(level="warn", text="running, but its guest does not answer")
    if any(proof.problem for proof in view.proofs):
        return Mark(level="bad", text="running, but an exclude does not hold")
    return Mark(level="good", text="running")


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
    yield "limits", limits_in_words(spec.limits)
    if view.memory is not None:
        yield "memory", f"{amount(view.memory)} of {amount(spec.limits.memory)} in use"


def _use(mount: Mount, proofs: Mapping[str, MountProof]) -> Cell:
    proof = proofs.get(mount.target)
    if proof is None:
        return ""
    if proof.problem is not None:
        return Mark(level="bad", text=proof.problem)
    if isinstance(mount, EmptyFile):
        return "covered"
    return f"{amount(proof.used)} of {amount(proof.size)}"


def _kernel(kernel: KernelView) -> tuple[Cell, ...]:
    if kernel.ended is not None:
        level: Level = "none" if kernel.ended.code == 0 else "bad"
        return str(kernel.pid), Mark(level=level, text=str(kernel.ended)), "", ""
    state = Mark(level="good", text="running")
    if not kernel.samples:
        return str(kernel.pid), state, "not measured yet", ""
    rates = [(one.age, one.cpu) for one in kernel.samples if one.cpu is not None]
    memory = _trend(
        amount(kernel.samples[-1].memory), [(one.age, one.memory) for one in kernel.samples]
    )
    cpu = _trend(f"{rates[-1][1]:.0%}" if rates else "not measured yet", rates)
    return str(kernel.pid), state, memory, cpu


def _sidecar(sidecar: SidecarView) -> tuple[Cell, ...]:
    state = Mark(level="good" if sidecar.running else "bad", text=sidecar.state)
    return sidecar.name, state, sidecar.image


def _trend(text: str, points: list[tuple[float, float]]) -> Trend:
    seconds = points[0][0] - points[-1][0] if points else 0.0
    return Trend(text=text, values=tuple(value for _, value in points), seconds=seconds)


# ---------------------------------------------------------------- doctor

_MARKS: dict[str, Level] = {"ok": "good", "warn": "warn", "no": "bad"}


def of_findings(findings: Iterable[Finding]) -> Sheet:
    groups = [(group, tuple(found)) for group, found in groupby(findings, lambda one: one.group)]
    usable = [one.subject for _, found in groups for one in found if one.makes_usable]
    words = f"runs sandboxes on {', '.join(usable)}" if usable else "no runtime can be used"
    return Sheet(
        title="This machine",
        mark=Mark(level="good" if usable else "bad", text=words),
        tables=tuple(
            Table(
                title=group,
                columns=("subject", "verdict", "what was found", "what to do"),
                rows=tuple(map(_finding, found)),
            )
            for group, found in groups
        ),
    )


def _finding(finding: Finding) -> tuple[Cell, ...]:
    verdict = Mark(level=_MARKS[finding.verdict], text=finding.verdict)
    return finding.subject, verdict, finding.detail, finding.mend
