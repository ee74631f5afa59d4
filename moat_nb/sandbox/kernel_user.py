"""What a start has an engine do so that a sandbox is its user's: the user is known in it, and owns
the volumes."""

from __future__ import annotations

from collections.abc import Iterable

from moat_nb.errors import ProofError
from moat_nb.host.reaper import Reaper
from moat_nb.host.run_directory import IMAGES, RunDir
from moat_nb.planning.accounts import GROUP, PASSWD, group, passwd
from moat_nb.planning.mounts import Volume
from moat_nb.planning.spec import ContainerSpec
from moat_nb.runtimes.base import Runtime
from moat_nb.sandbox.mount_proof import MountProof
from moat_nb.text.terminal import one_line

__all__ = ["check_volumes", "give_volumes", "write_accounts"]


def write_accounts(runtime: Runtime, spec: ContainerSpec, run_dir: RunDir, reaper: Reaper) -> None:
    """Write what is mounted at /etc/passwd and /etc/group: the image's users, and the kernels'."""
    if not spec.accounts or spec.image is None:
        return
    name = f"{spec.name}-files"
    known = run_dir.path.parent / IMAGES
    users, groups = runtime.containers.files(spec.image, (PASSWD, GROUP), name, reaper, known)
    run_dir.write_accounts(passwd(spec.user, users), group(spec.user, groups))


def give_volumes(
    runtime: Runtime, spec: ContainerSpec, proofs: Iterable[MountProof], reaper: Reaper
) -> bool:
    """Have volumes that the kernels cannot write given to their user; whether there were any."""
    lacking = _unwritable(spec, proofs)
    for volume in lacking:
        runtime.containers.give(volume.name, spec, reaper)
    return bool(lacking)


def check_volumes(spec: ContainerSpec, proofs: Iterable[MountProof]) -> None:
    """ProofError for one that the kernels cannot write."""
    for volume in _unwritable(spec, proofs):
        raise ProofError(
            f"{one_line(volume.target)}: {spec.user} cannot write to the volume {volume.name}; "
            "make it that user's, or remove it"
        )


def _unwritable(spec: ContainerSpec, proofs: Iterable[MountProof]) -> list[Volume]:
    writable = {proof.path for proof in proofs if proof.writable}
    return [volume for volume in spec.mounts.written_volumes if volume.target not in writable]
