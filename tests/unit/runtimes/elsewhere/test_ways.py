"""How our program is started elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.config.model import OtherMachine, SlurmJob
from moat_nb.runtimes.elsewhere.ways import argv_of, hint_of, waiting


def test_a_job_has_what_the_file_asks_for_and_little_of_the_environment() -> None:
    job = SlurmJob(partition="gpu", time="1:00:00", mem_mb=4096, cpus=2, gres="license:1")
    argv = argv_of(OtherMachine(slurm=job), "exec x")
    options = ("--partition=gpu", "--time=1:00:00", "--mem=4096M", "--cpus-per-task=2")
    assert argv[0] == "srun" and {*options, "--gres=license:1"} <= {*argv}
    assert argv[-3:] == ("sh", "-c", "exec x")
    (exported,) = (word for word in argv if word.startswith("--export="))
    assert "ALL" not in exported
    plain = argv_of(OtherMachine(slurm=SlurmJob()), "exec x")
    assert not [word for word in plain if word.startswith(("--mem", "--partition", "--gres"))]


def test_who_gets_no_answer_is_told_what_to_try() -> None:
    by_ssh = OtherMachine(ssh="me@gpu:22", python="python3.12")
    assert hint_of(by_ssh) == "`ssh -p 22 me@gpu python3.12 -V` should answer without a question"
    assert hint_of(OtherMachine(slurm=SlurmJob())).startswith("`srun python3 -V` should")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo Resources", "job 12 waits in Slurm's queue: Resources"),
        ("exit 1", "job 12 waits in Slurm's queue: no reason given"),
    ],
)
def test_a_job_that_is_queued_waits_for_what_slurm_says(
    tmp_path: Path, script: str, words: str
) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text(f'#!/bin/sh\ncase "$*" in *"--job 12"*) {script};; esac\n')
    squeue.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    said = b"srun: job 12 queued and waiting for resources\n"
    assert waiting(said, environ) == words
    assert waiting(b"srun: error: no", environ) == ""
