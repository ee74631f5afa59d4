"""SIGKILL of a launcher, at each step of a sandbox's life: five seconds later nothing is left."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.integration.conftest import wait_until

KILLED = [sys.executable, "-m", "tests.integration.killed"]


def steps_of(launcher, project):
    """The names of a life's steps, in order; not of the first of an image's, whose users are read
    for those that follow."""
    argv = [*KILLED, "steps", launcher.runtime, project]
    subprocess.run(argv, check=True, capture_output=True)
    return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def first_of_containers(steps):
    """The number of the first step that starts one; sidecars start while the kernel's is proved."""
    return next(n for n, name in enumerate(steps, start=1) if " in runtime._start" in name)


def kill_at(launcher, orders):
    """What was left of launchers killed at a step each; ``orders`` are steps and projects.

    How often a life looks whether something is there depends on the machine, so some have fewer
    steps than the first: they end of themselves, and leave nothing either.
    """
    done = subprocess.run(
        [*KILLED, "kill", launcher.runtime],
        input="".join(json.dumps(order) + "\n" for order in orders),
        check=True,
        capture_output=True,
        text=True,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(result["step"] for result in results) == [order["step"] for order in orders]
    killed = [result["killed"] for result in results if result["killed"]]
    assert len(killed) > 0.9 * len(orders)
    return [result for result in results if result["left"]]


@pytest.mark.timeout(600)
def test_a_launcher_killed_at_any_step_leaves_nothing(launcher):
    steps = steps_of(launcher, launcher.project("lib", network=None))
    assert {"before fork_exec in reaper.__init__", "after fork_exec in reaper.__init__"} <= {*steps}
    assert "after fork_exec in on_demand._start" in steps
    assert len(steps) > 20
    orders = [
        {"step": number, "project": str(launcher.project("lib", network=None))}
        for number in range(1, len(steps) + 1)
    ]
    assert kill_at(launcher, orders) == []


@pytest.mark.timeout(600)
def test_a_launcher_killed_at_any_step_of_a_sidecars_life_leaves_nothing(on_docker, services):
    def project():
        redis = {"redis": {"image": services.redis}}
        return str(on_docker.project(dependencies=["redis"], services=redis))

    steps = steps_of(on_docker, project())
    first = first_of_containers(steps)
    assert any(" in sidecar." in name for name in steps[first:])
    # Those before are of any sandbox.
    orders = [{"step": n, "project": project()} for n in range(first, len(steps) + 1)]
    assert kill_at(on_docker, orders) == []


@pytest.mark.timeout(600)
def test_a_launcher_killed_while_two_sidecars_and_a_volume_start_leaves_nothing_but_the_volume(
    on_docker, services, engine
):
    """The two start in parallel, so what step a number is differs from one life to the next."""
    volume = {"name": "killed", "target": "/data", "type": "volume"}
    keep = {"services": {"redis": {"volumes": [volume]}}}

    def project():
        redis = {"image": services.redis, "env": {"REDIS_PASSWORD": "mine"}}
        mysql = {"image": services.mysql, "wait": False}
        both = {"redis": redis, "mysql": mysql}
        return str(on_docker.project(dependencies=["redis", "mysql"], services=both, kernel=keep))

    try:
        steps = steps_of(on_docker, project())
        orders = [
            {"step": n, "project": project()}
            for n in range(first_of_containers(steps), len(steps) - 3, 3)
        ]
        assert len(orders) > 5
        assert kill_at(on_docker, orders) == []
    finally:
        engine.client.api.remove_volume("moat-test-box-killed", force=True)


HOLD = """
import sys, moat_nb
box = moat_nb.Sandbox.launch(sys.argv[1], sys.argv[2])
print(box.sockets.parent, box._running.reaper._process.pid, flush=True)
sys.stdin.read()
"""


def test_a_launcher_killed_with_its_reaper_leaves_what_the_next_start_sweeps(launcher):
    project = launcher.project("deep/lib", ".env")
    launcher.launch(project).stop()  # an engine that cannot have it refuses it here
    argv = [sys.executable, "-c", HOLD, project, launcher.runtime]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        directory, reaper = process.stdout.readline().split()
        os.kill(int(reaper), signal.SIGKILL)
        process.kill()
    # The attach stream ends the sandbox itself. Only the directory and the mount points stay, until
    # somebody starts another sandbox, as another test may have.
    assert wait_until(lambda: {*launcher.left(project, seconds=0)} <= {f"directory {directory}"})
    assert {path.name for path in project.iterdir()} <= {"deep", ".env", "moat.yaml"}
    launcher.launch(launcher.project()).stop()
    assert launcher.left(project) == []
    assert [path.name for path in project.iterdir()] == ["moat.yaml"]
