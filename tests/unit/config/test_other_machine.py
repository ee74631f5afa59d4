"""``kernel.on``."""

from __future__ import annotations

import pytest

from moat_nb.config.model import OtherMachine, SlurmJob
from tests.unit.config.reading import config, refused


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ("{ssh: gpu}", OtherMachine(ssh="gpu")),
        (
            "{ssh: ada@gpu.example:22, python: /opt/conda/bin/python3, grace: 10}",
            OtherMachine(ssh="ada@gpu.example:22", python="/opt/conda/bin/python3", grace=10),
        ),
        ("{slurm: {}}", OtherMachine(slurm=SlurmJob())),
        (
            "{slurm: {partition: gpu, time: '2:00:00', mem: 8000, cpus: 4, gres: license:1}}",
            OtherMachine(
                slurm=SlurmJob(
                    partition="gpu", time="2:00:00", mem_mb=8000, cpus=4, gres="license:1"
                )
            ),
        ),
        ("~", None),
    ],
)
def test_a_machine_is_one_of_ssh_or_of_slurm(on: str, expected: OtherMachine | None) -> None:
    assert config(f"kernel: {{on: {on}}}").kernel.on == expected


@pytest.mark.parametrize(
    ("on", "words"),
    [
        ("{ssh: -oProxyCommand=x}", "kernel.on.ssh: '-oProxyCommand=x' is not a host that ssh"),
        ("{ssh: gpu, python: -c}", "kernel.on.python: '-c' is not a program there"),
        ("{python: python3}", "kernel.on.ssh: missing"),
        ("{ssh: gpu, slurm: {}}", "unknown key 'ssh' in kernel.on"),
        ("{slurm: ~}", "kernel.on.slurm: missing"),
        ("{slurm: {time: --x}}", "kernel.on.slurm.time: "),
        ("{slurm: {mem: 8G}}", "kernel.on.slurm.mem: '8G' is not a whole number of MB"),
        ("{ssh: gpu}, runtime: docker", "and kernel.runtime is docker"),
    ],
)
def test_what_names_none_is_refused(on: str, words: str) -> None:
    assert words in refused(f"kernel: {{on: {on}}}")
