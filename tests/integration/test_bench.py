"""`moat-nb bench`: every measure is taken; what cannot run the project is left out."""

import json
import subprocess
import sys

from moat_nb.cli.bench import TARGETS
from moat_nb.cli.bench.steps import REST, steps


def test_every_measure_is_a_ratio_to_a_plain_kernel(on_docker):
    project = on_docker.project("lib", python=True)
    argv = [sys.executable, "-m", "moat_nb", "bench", str(project), "--runs", "1", "--json"]
    argv.append("--peers")
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "bubblewrap is left out: " in done.stderr
    # The engine of the tests has no network, which the peers cannot do without.
    assert "the peers are left out: the engine has no bridge network" in done.stderr
    report = json.loads(done.stdout)
    assert len(report["floors"]) == 2
    assert min(report["floors"].values()) > 0
    measures = report["measures"]
    assert [(one["name"], one["runtime"]) for one in measures] == [
        (name, "docker") for name in TARGETS
    ]
    for one in measures:
        assert one["ratio"] == one["sandboxed"] / one["plain"]
        assert min(one["plain"], one["sandboxed"]) > 0


def test_the_steps_of_a_cold_start_add_up_to_the_whole(launcher):
    project = launcher.project("lib", python=True)
    found = steps(project, launcher.runtime, 1)
    assert list(found)[-2:] == list(REST)
    assert len(found) == 8
    assert min(found.values()) > 0
