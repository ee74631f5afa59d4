"""How large an exclude may become."""

from __future__ import annotations

import pytest

from moat_nb.host.machine import Host
from moat_nb.planning.limits import MIB
from moat_nb.planning.mounts import Tmpfs
from tests.unit.planning.planned import docker
from tests.unit.projects import Make


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", 1024 * MIB),
        ("container: {memory: 512}", 256 * MIB),
        ("kernel: {tmpfs_size: 9999}", 2 << 30),
        ("container: {memory: 512}\nkernel: {tmpfs_size: 100}", 100 * MIB),
    ],
)
def test_an_exclude_is_at_most_half_of_the_memory(
    config: Make, host: Host, text: str, size: int
) -> None:
    spec = docker(
        config(f"{text}\nmounts: [{{source: ., target: /workspace, exclude: [e]}}]"), host
    )
    (exclude,) = spec.mounts.excludes
    assert isinstance(exclude, Tmpfs)
    assert exclude.size == size
