"""``kernel.on: {slurm: ...}`` on a real Slurm with two nodes. See `make test-slurm`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.integration.conftest import wait_until
from tests.launchers_elsewhere import KERNEL, finished, processes_of, started, write_files
from tests.slurm.cluster import Cluster, cluster

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can make a cluster")

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def slurm(run_directory: Path) -> Iterator[Cluster]:
    with cluster(run_directory / "slurm") as made:
        yield made


@pytest.fixture
def there(slurm: Cluster, project: Project) -> Iterator[Make]:
    """Makes an approved project for it; after the test no job is there."""

    def make(options: str = "{}") -> Path:
        on = f"{{slurm: {options}, python: {sys.executable}, grace: 10}}"
        text = f"name: far\nnetwork: {{policy: none}}\nkernel: {{on: {on}}}\n"
        text += "mounts: [{source: ., target: /workspace, exclude: [node_modules]}]\n"
        made = project(text)
        write_files(made)
        moat_nb(slurm, made, "allow", "--yes")
        return made

    yield make
    assert wait_until(lambda: slurm.jobs == [], seconds=60), slurm.jobs


def words(slurm: Cluster, *more: str) -> list[str]:
    return [*slurm.nearby, sys.executable, *more]


def moat_nb(slurm: Cluster, project: Path, *more: str, code: int = 0) -> tuple[str, str]:
    return finished(words(slurm, "-m", "moat_nb", *more), project, code)


def test_the_demo_proves_on_a_node_what_it_proves_here_and_leaves_nothing(
    slurm: Cluster, tmp_path: Path
) -> None:
    said, _ = moat_nb(slurm, tmp_path, "demo", "--runtime", f"slurm://{sys.executable}")
    assert re.search(r"/workspace/node_modules +tmpfs +1777 +yes +yes", said)
    assert re.search(r"host's files +untouched", said) and "lo only" in said
    assert slurm.copies == []


def test_the_jobs_memory_is_the_nodes_and_what_changed_comes_back(
    slurm: Cluster, there: Make
) -> None:
    project = there("{partition: all, mem: 1000, time: '10', cpus: 1}")
    out, err = moat_nb(slurm, project, "run", "--", "sh", "-c", "cat kept.txt; echo 1 > made")
    assert out == "kept.txt of the host\n" and "500 MiB" in err
    assert "made" in moat_nb(slurm, project, "diff", "--names")[0]
    moat_nb(slurm, project, "pull")
    assert (project / "made").read_text() == "1\n"


def test_a_kernel_that_a_client_starts_and_restarts_runs_on_a_node(
    slurm: Cluster, there: Make
) -> None:
    out, _ = finished(words(slurm, "-c", KERNEL), there(), 0)
    assert "'made'" in out and "] False" in out


def test_what_slurm_refuses_and_what_a_job_waits_for_are_told(slurm: Cluster, there: Make) -> None:
    _, err = moat_nb(slurm, there("{mem: 99999}"), "run", "--", "true", code=125)
    assert "Memory specification can not be satisfied srun: error" in err
    full = [*slurm.nearby, "srun", "--nodes=2", "--ntasks=2", "sleep", "1000"]
    with subprocess.Popen(full, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        try:
            assert wait_until(lambda: any("RUNNING" in job for job in slurm.jobs), seconds=60)
            with subprocess.Popen(
                words(slurm, "-m", "moat_nb", "run", "--", "echo", "ran"),
                cwd=there(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as launcher:
                assert launcher.stderr is not None
                first = launcher.stderr.readline()
                assert re.search(r"job \d+ waits in Slurm's queue: (Resources|Priority)", first)
                slurm.slurm("scancel", "--name=sleep")
                assert launcher.communicate(timeout=120)[0] == "ran\n"
        finally:
            slurm.slurm("scancel", "--name=sleep")


def test_scancel_ends_the_sandbox_in_words(slurm: Cluster, there: Make) -> None:
    with started(words(slurm, "-m", "moat_nb"), there()) as launcher:
        (job,) = slurm.jobs
        slurm.slurm("scancel", job.split()[0])
        _, err = launcher.communicate(timeout=60)
    assert launcher.returncode != 0 and re.search("CANCELLED|Terminated", err), err


def test_a_job_whose_srun_was_killed_ends_within_the_grace(slurm: Cluster, there: Make) -> None:
    """Both of srun's processes: the step would live on, with its stdin open."""
    with started(words(slurm, "-m", "moat_nb"), there()) as launcher:
        sruns = [process for process in processes_of(launcher) if process.name() == "srun"]
        assert sruns
        for process in sruns:
            process.kill()
        assert wait_until(lambda: slurm.jobs == [], seconds=100), slurm.jobs


def test_nothing_runs_of_a_launcher_that_was_killed(slurm: Cluster, there: Make) -> None:
    with started(words(slurm, "-m", "moat_nb"), there()):
        pass
    assert wait_until(lambda: slurm.jobs == [], seconds=100), slurm.jobs
