"""What `moat-nb plan` shows."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from moat_nb.cli.plan import Rendered, plan_as_text
from moat_nb.config.model import Config, Secret, UnusedKey
from moat_nb.host.machine import User
from moat_nb.planning.image import ImagePlan
from moat_nb.planning.limits import MIB, Hardening, Limits
from moat_nb.planning.mounts import Bind, EmptyFile, MountPlan, MountPoint, Tmpfs, build
from moat_nb.planning.spec import ContainerSpec
from moat_nb.runtimes.base import UNLIMITED_FILES
from moat_nb.runtimes.docker.runtime import Docker
from moat_nb.sandbox.project import LaunchPlan
from tests.unit.cli.helpers import moat


def test_plan_answers_within_three_tenths_of_a_second(directory, tmp_path):
    env = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    times, beside = [], []
    for _ in range(30):
        before = spent()
        assert moat("plan", directory, "--runtime", "docker", env=env).returncode == 0
        times.append(spent() - before)
        before = spent()
        subprocess.run([sys.executable, "-c", "import yaml"], check=True)
        beside.append(spent() - before)
        # A machine that is slow, or busy, takes longer than the one that this was promised for:
        # there it is 7 times the other. What else it does makes a reading longer, none shorter.
        if min(times) < max(0.3, 9 * min(beside)):
            return
    raise AssertionError((times, beside))


def spent():
    """Seconds of processor time of ended children: all that a plan waits for, and the same on a
    machine where other tests run."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("runtime", ["docker", "bubblewrap"])
def test_plan_imports_nothing_that_only_a_start_needs(directory, runtime):
    done = moat("plan", directory, "--runtime", runtime, python=["-X", "importtime"])
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "moat_nb.planning.kernel" in imported
    assert not imported & {"docker", "requests", "jupyter_client", "traitlets", "tqdm", "ipykernel"}


def test_plan_renders_docker_without_an_engine(directory):
    done = moat("plan", directory, "--runtime", "docker", "--json")
    plan = json.loads(done.stdout)
    assert plan["spec"]["image"] == "python:3.11-slim"
    assert {m["target"]: m["type"] for m in plan["spec"]["mounts"]["mounts"]} == {
        "/workspace": "bind",
        "/workspace/node_modules": "tmpfs",
        "/workspace/moat.yaml": "bind",
        "/tmp": "tmpfs",
        "/home/moatuser": "tmpfs",
        "/run/moat/network": "bind",
        "/etc/passwd": "bind",
        "/etc/group": "bind",
        **dict.fromkeys([m for m in targets(plan) if m.endswith("/00000000/s")], "bind"),
    }
    assert plan["rendered"]["name"] == "moat-box-00000000"
    host = plan["rendered"]["body"]["HostConfig"]
    assert "mode=1777" in host["Tmpfs"]["/workspace/node_modules"]
    assert host["NetworkMode"] == "none"
    assert plan["unused"] == [{"name": "claude", "where": f"{directory}/moat.yaml:3:1"}]
    assert (directory / "node_modules").exists() is False


def targets(plan):
    return [mount["target"] for mount in plan["spec"]["mounts"]["mounts"]]


def test_plan_for_bubblewrap_has_no_image_and_no_dockerfile(directory):
    (directory / "moat.yaml").write_text("name: box\n")
    assert (
        json.loads(moat("plan", directory, "--runtime", "bubblewrap", "--json").stdout)["image"]
        is None
    )
    done = moat("plan", directory, "--runtime", "bubblewrap", "--dockerfile")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("moat-nb: nothing is built: none: the host's own programs")


def test_plan_shows_each_sidecar_as_it_would_be_started(directory):
    text = (directory / "moat.yaml").read_text()
    services = "services: {redis: {wait: false, env: {A: hunter2}}}\n"
    (directory / "moat.yaml").write_text(f"{text}dependencies: [redis]\n{services}")
    said = moat("plan", directory, "--runtime", "docker").stdout
    assert "sidecar redis\n" in said
    assert re.search(r"^  image +redis:7$", said, flags=re.MULTILINE)
    assert re.search(r"^  ready +not waited for$", said, flags=re.MULTILINE)
    assert "/data" in said
    assert "network the kernels'" in said
    whole = moat("plan", directory, "--runtime", "docker", "--json").stdout
    (redis,) = json.loads(whole)["sidecars"]
    assert (redis["name"], redis["wait"]) == ("redis", False)
    assert redis["rendered"]["name"] == "moat-box-redis-00000000"
    host = redis["rendered"]["body"]["HostConfig"]
    assert host["NetworkMode"] == "container:moat-box-00000000"
    assert redis["ready"] == "something listens at 127.0.0.1:6379"
    assert "hunter2" not in said + whole


@pytest.mark.parametrize(
    ("policy", "way"),
    [("strict", "the sandbox's proxy, by its rules"), ("bridge", "the engine's network")],
)
def test_plan_says_which_models_are_pulled_and_how(directory, policy, way):
    text = (directory / "moat.yaml").read_text()
    services = "services: {ollama: {models: ['qwen:7b', tiny]}}\n"
    network = f"dependencies: [ollama]\nnetwork: {{policy: {policy}}}\n"
    (directory / "moat.yaml").write_text(text + services + network)
    said = moat("plan", directory, "--runtime", "docker").stdout
    assert re.search(r"^  models +qwen:7b, tiny$", said, flags=re.MULTILINE)
    assert f"through {way}" in " ".join(said.split())
    assert re.search(r"^  /models +bind +rw +/.*/volumes/box/ollama-models$", said, re.MULTILINE)
    (ollama,) = json.loads(moat("plan", directory, "--runtime", "docker", "--json").stdout)[
        "sidecars"
    ]
    assert ollama["models"] == ["qwen:7b", "tiny"]
    assert (ollama["spec"]["egress"] is None) == (policy == "bridge")


def test_plan_prints_the_dockerfile_that_would_be_built(directory):
    done = moat("plan", directory, "--runtime", "docker", "--dockerfile")
    assert done.stdout.startswith("FROM python:3.11-slim\nLABEL moat.nb.image=1\n")


PLAN_TEXT = """\
project     /p/moat.yaml
name        box
runtime     docker (asked for)
image       python:3.11-slim, with pip: ipykernel>=6, six; apt: git
user        1000:1000
limits      memory 2 GiB, 512 processes, 1.5 CPUs, /dev/shm 64 MiB, core 0,
            nofile 64/unlimited
hardening   capabilities dropped: ALL, no new privileges, network none
loosened    the root filesystem can be written
env         HOME
secrets     TOKEN (env)
command     python3 train.py

mounts, in order
  TARGET                   TYPE        MODE     SOURCE OR SIZE
  /data                    bind        ro       /data
  /workspace               bind        rw       /p
  /tmp                     tmpfs       1777 rw  512 MiB (tmp)
  /workspace/.env          empty file  ro       covers an excluded file
  /workspace/node_modules  tmpfs       1777 rw  1 GiB

made on the host at the start, where missing
  /p/node_modules                                   removed at the end if still empty
  /home/ada/.local/share/moat-nb/volumes/box/cache  kept

notices
  - network: none (the kernel has loopback only)
  - an exclude's size is limited, but not the number of files in it

needs approval, by `moat-nb allow`
  - moat.yaml: secret TOKEN (env://TOKEN)

keys not used: they mean nothing to a kernel
  moat.yaml:3:1  claude"""


def test_plan_as_text(host):
    """The whole text for people, 80 columns wide."""
    config = Config(
        path=Path("/p/moat.yaml"),
        name="box",
        secrets=(Secret(name="TOKEN", scheme="env", reference="TOKEN"),),
        command=("python3", "train.py"),
        unused=(UnusedKey(name="claude", where="moat.yaml:3:1"),),
    )
    mounts = (
        Bind(source="/p", target="/workspace"),
        Bind(source="/data", target="/data", read_only=True),
        Tmpfs(target="/workspace/node_modules", size=1024 * MIB),
        EmptyFile(target="/workspace/.env"),
        Tmpfs(target="/tmp", size=512 * MIB, role="tmp"),
    )
    spec = ContainerSpec(
        name="moat-box-00000000",
        role="kernel",
        project="/p",
        runtime="docker",
        image="python:3.11-slim",
        command=("python3", "/run/moat/guest"),
        user=User(1000, 1000),
        env=(("HOME", "/home/moatuser"),),
        workdir="/workspace",
        mounts=MountPlan(
            mounts=build(mounts),
            missing=(MountPoint(root="/p", relative="node_modules"),),
            keep=("/home/ada/.local/share/moat-nb/volumes/box/cache",),
        ),
        limits=Limits(memory=2048 * MIB, cpus=1.5, ulimits=(("core", 0, 0), ("nofile", 64, -1))),
        hardening=Hardening(read_only_root=False),
        notices=("runtime: docker (asked for)", "network: none (the kernel has loopback only)"),
    )
    image = ImagePlan(
        name="box",
        config="/p/moat.yaml",
        base="python:3.11-slim",
        requirements=("ipykernel>=6", "six"),
        apt=("git",),
    )
    launch = LaunchPlan(
        config=config,
        runtime=Docker("docker", {}),
        why="runtime: docker (asked for)",
        spec=spec,
        image=image,
        file=config,
        host=host,
        environ={},
    )
    plan = Rendered(
        launch=launch,
        spec=spec,
        rendered={},
        remarks=(UNLIMITED_FILES,),
    )
    assert plan_as_text(plan) == PLAN_TEXT
