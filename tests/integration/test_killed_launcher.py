"""SIGKILL of a launcher, at each step of a sandbox's life: five seconds later nothing is left."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.integration.conftest import wait_until

KILLED = [sys.executable, "-m", "tests.integration.killed"]


@pytest.mark.timeout(240)
def test_a_launcher_killed_at_any_step_leaves_nothing(launcher):
    found = subprocess.run(
        [*KILLED, "steps", launcher.runtime, launcher.project("lib")],
        check=True,
        capture_output=True,
        text=True,
    )
    steps = json.loads(found.stdout)
    assert {"before fork_exec in janitor.__init__", "after fork_exec in janitor.__init__"} <= {
        *steps
    }
    assert len(steps) > 20
    orders = [
        {"step": number, "project": str(launcher.project("lib"))}
        for number in range(1, len(steps) + 1)
    ]
    done = subprocess.run(
        [*KILLED, "kill", launcher.runtime],
        input="".join(json.dumps(order) + "\n" for order in orders),
        check=True,
        capture_output=True,
        text=True,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(result["step"] for result in results) == list(range(1, len(steps) + 1))
    assert [result["step"] for result in results if not result["killed"]] == []
    assert [result for result in results if result["left"]] == []


HOLD = """
import sys, moat_nb
box = moat_nb.Sandbox.launch(sys.argv[1], sys.argv[2])
print(box.sockets.parent, box._started.janitor._process.pid, flush=True)
sys.stdin.read()
"""


def test_a_launcher_killed_with_its_janitor_leaves_what_the_next_start_sweeps(launcher):
    project = launcher.project()
    argv = [sys.executable, "-c", HOLD, project, launcher.runtime]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        directory, janitor = process.stdout.readline().split()
        os.kill(int(janitor), signal.SIGKILL)
        process.kill()
    # The leash ends the sandbox itself; only the directory has nobody to remove it.
    assert wait_until(lambda: launcher.left(project, seconds=0) == [f"directory {directory}"])
    launcher.launch(launcher.project()).stop()
    assert launcher.left(project) == []
