"""One spec rendered whole for each kind of engine, and what is hardened."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import moat_nb
from moat_nb.host.machine import User
from moat_nb.planning.limits import MIB, Hardening, Limits
from moat_nb.planning.mounts import Bind, EmptyFile, MountPlan, Tmpfs, Volume, build
from moat_nb.planning.spec import ContainerSpec, Instance, SandboxSpec
from moat_nb.runtimes.base import UNLIMITED_FILES
from moat_nb.runtimes.docker import seccomp
from moat_nb.runtimes.docker.engine import EngineFacts
from moat_nb.runtimes.docker.runtime import Docker

PACKAGE = Path(moat_nb.__file__).parent
SPEC = ContainerSpec(
    name="p",
    role="kernel",
    project="/home/ada/p",
    runtime="docker",
    image="moat-nb/p:0123",
    command=("python3", "/run/moat/guest", "{}"),
    user=User(1000, 1001),
    env=(("A", "b=c d"), ("HOME", "/home/moatuser")),
    workdir="/workspace",
    mounts=MountPlan(
        mounts=build(
            [
                Bind(source="/home/ada/p", target="/workspace"),
                Bind(source="/data", target="/data", read_only=True),
                Volume(name="moat-p-db", target="/db"),
                Tmpfs(target="/workspace/.venv", size=3 * MIB),
                EmptyFile(target="/workspace/.env"),
                Tmpfs(target="/tmp", size=2 * MIB, role="tmp"),
                Tmpfs(target="/home/moatuser", size=MIB, role="home"),
            ]
        )
    ),
    limits=Limits(memory=1 << 30, cpus=1.5),
).instantiate(
    Instance(
        accounts="/run/user/1000/moat-nb/0123abcd/etc",
        id="0123abcd",
        sockets="/run/user/1000/moat-nb/0123abcd/s",
        network="/run/user/1000/moat-nb/0123abcd/n",
        owner="7:99:boot",
    )
)


def render(runtime: Docker, spec: ContainerSpec) -> dict[str, Any]:
    (rendered,) = runtime.render(SandboxSpec(kernel=spec))
    return rendered


def bind(source: str, target: str, read_only: bool = False) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only}


DOCKER: dict[str, Any] = {
    "name": "moat-p-0123abcd",
    "body": {
        "Image": "moat-nb/p:0123",
        "Cmd": ["python3", "/run/moat/guest", "{}"],
        "Entrypoint": [],
        "User": "1000:1001",
        "Env": ["A=b=c d", "HOME=/home/moatuser"],
        "WorkingDir": "/workspace",
        "Hostname": "sandbox",
        "StopSignal": "SIGKILL",
        "Labels": {
            "moat.nb.owner": "7:99:boot",
            "moat.nb.project": "/home/ada/p",
            "moat.nb.role": "kernel",
            "moat.nb.sandbox": "0123abcd",
            "moat.nb.spec": dict(SPEC.labels)["moat.nb.spec"],
        },
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "NetworkDisabled": False,
        "HostConfig": {
            "AutoRemove": True,
            "Init": False,
            "NetworkMode": "none",
            "IpcMode": "private",
            "CgroupnsMode": "private",
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true", seccomp.option(podman=False)],
            "ReadonlyRootfs": True,
            "PidsLimit": 512,
            "Memory": 1 << 30,
            "MemorySwap": 1 << 30,
            "NanoCpus": 1_500_000_000,
            "ShmSize": 64 << 20,
            "ExtraHosts": ["sandbox:127.0.0.1"],
            "Ulimits": [
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "nofile", "Soft": 4096, "Hard": 4096},
            ],
            "LogConfig": {"Type": "none"},
            "Mounts": [
                bind(f"{PACKAGE}/guest", "/run/moat/guest", True),
                bind("/data", "/data", True),
                {"Type": "volume", "Source": "moat-p-db", "Target": "/db", "ReadOnly": False},
                bind("/home/ada/p", "/workspace"),
                bind(f"{PACKAGE}/runtimes/empty", "/workspace/.env", True),
                bind("/run/user/1000/moat-nb/0123abcd/s", "/run/user/1000/moat-nb/0123abcd/s"),
            ],
            "Tmpfs": {
                "/tmp": "rw,exec,nosuid,nodev,mode=1777,size=2097152,uid=1000,gid=1001,"
                "nr_inodes=512",
                "/home/moatuser": "rw,exec,nosuid,nodev,mode=1777,size=1048576,uid=1000,gid=1001,"
                "nr_inodes=256",
                "/workspace/.venv": "rw,exec,nosuid,nodev,mode=1777,size=3145728,uid=1000,"
                "gid=1001,nr_inodes=768",
            },
        },
    },
}
PODMAN_TMPFS = {
    "/tmp": "rw,exec,nosuid,nodev,mode=1777,size=2097152,notmpcopyup",
    "/home/moatuser": "rw,exec,nosuid,nodev,mode=1777,size=1048576,notmpcopyup",
    "/workspace/.venv": "rw,exec,nosuid,nodev,mode=1777,size=3145728,notmpcopyup",
}


def expected(user: str, tmpfs: dict[str, str]) -> dict[str, Any]:
    whole = deepcopy(DOCKER)
    whole["body"]["User"] = user
    whole["body"]["HostConfig"]["Tmpfs"] = tmpfs
    if tmpfs is PODMAN_TMPFS:
        filter = seccomp.option(podman=True)
        whole["body"]["HostConfig"]["SecurityOpt"] = ["no-new-privileges:true", filter]
    return whole


def rootless_docker_tmpfs() -> dict[str, str]:
    tmpfs: dict[str, str] = DOCKER["body"]["HostConfig"]["Tmpfs"]
    return {k: v.replace("uid=1000,gid=1001", "uid=0,gid=0") for k, v in tmpfs.items()}


@pytest.mark.parametrize(
    ("facts", "whole"),
    [
        (EngineFacts(), DOCKER),
        (EngineFacts(rootless=True), expected("0:0", rootless_docker_tmpfs())),
        (EngineFacts(podman=True), expected("1000:1001", PODMAN_TMPFS)),
        (EngineFacts(podman=True, rootless=True), expected("0:0", PODMAN_TMPFS)),
    ],
    ids=["docker", "docker-rootless", "podman", "podman-rootless"],
)
def test_a_spec_is_rendered_whole(facts: EngineFacts, whole: dict[str, Any]) -> None:
    rendered = render(Docker("docker", {}, facts), SPEC)
    assert rendered == whole
    assert json.loads(json.dumps(rendered)) == rendered


@pytest.mark.parametrize(
    ("name", "whole"), [("docker", DOCKER), ("podman", expected("1000:1001", PODMAN_TMPFS))]
)
def test_without_an_engine_at_hand_the_one_of_that_name_is_rendered(
    name: str, whole: dict[str, Any]
) -> None:
    assert render(Docker(name, {}), SPEC) == whole


@pytest.mark.parametrize("facts", [EngineFacts(), EngineFacts(podman=True)])
def test_a_plan_remarks_on_the_number_of_files_where_it_is_not_limited(facts: EngineFacts) -> None:
    runtime = Docker("docker", {}, facts)
    options = render(runtime, SPEC)["body"]["HostConfig"]["Tmpfs"]["/workspace/.venv"]
    assert runtime.remarks(SPEC) == (() if "nr_inodes" in options else (UNLIMITED_FILES,))
    assert runtime.notices(SPEC) == ()


def test_a_plan_remarks_that_gvisor_does_not_limit_the_number_of_files() -> None:
    spec = replace(SPEC, hardening=Hardening(isolation="gvisor"))
    assert Docker("docker", {}, EngineFacts()).remarks(spec) == (UNLIMITED_FILES,)


def host_config(**changes: Any) -> dict[str, Any]:
    rendered = render(Docker("docker", {}), replace(SPEC, **changes))
    config: dict[str, Any] = rendered["body"]["HostConfig"]
    return config


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"gpus": "all"}, "DeviceRequests", [{"Count": -1, "Capabilities": [["gpu"]]}]),
        ({"gpus": 2}, "DeviceRequests", [{"Count": 2, "Capabilities": [["gpu"]]}]),
        ({"gpus": None}, "DeviceRequests", None),
        ({"network": "bridge"}, "NetworkMode", "bridge"),
        ({"network": "none"}, "NetworkMode", "none"),
        ({"dns": ("192.0.2.1",)}, "Dns", ["192.0.2.1"]),
        ({"dns": ()}, "Dns", None),
        ({"limits": Limits(memory=1 << 30)}, "NanoCpus", None),
        ({"limits": Limits(memory=1 << 30, cpus=0.1)}, "NanoCpus", 100_000_000),
        ({"hardening": Hardening(isolation="gvisor")}, "Runtime", "runsc"),
        ({"hardening": Hardening()}, "Runtime", None),
        (
            {"hardening": Hardening(no_new_privileges=False)},
            "SecurityOpt",
            [seccomp.option(podman=False)],
        ),
        ({"hardening": Hardening(read_only_root=False)}, "ReadonlyRootfs", False),
        ({"hardening": Hardening(cap_drop=("NET_RAW",))}, "CapDrop", ["NET_RAW"]),
    ],
)
def test_what_a_user_may_change_is_rendered_and_absent_where_it_was_not_asked_for(
    changes: dict[str, Any], key: str, value: Any
) -> None:
    assert host_config(**changes).get(key) == value


# ---------------------------------------------------------------- the table of security.md


Check = Callable[[dict[str, Any], dict[str, Any]], bool]
TABLE: dict[str, Check] = {
    "user": lambda body, host: body["User"] == "1000:1001",
    "cap_drop": lambda body, host: host["CapDrop"] == ["ALL"] and "CapAdd" not in host,
    "security_opt": lambda body, host: (
        host["SecurityOpt"] == ["no-new-privileges:true", seccomp.option(podman=False)]
    ),
    "privileged": lambda body, host: "Privileged" not in host,
    "devices": lambda body, host: not host.keys() & {"Devices", "DeviceCgroupRules"},
    "read_only": lambda body, host: host["ReadonlyRootfs"] is True,
    "tmpfs on /tmp and HOME": lambda body, host: all(
        "mode=1777" in host["Tmpfs"][path] and "size=" in host["Tmpfs"][path]
        for path in ("/tmp", "/home/moatuser")
    ),
    "every tmpfs is nosuid, nodev": lambda body, host: all(
        ",nosuid,nodev," in options for options in host["Tmpfs"].values()
    ),
    "pids_limit": lambda body, host: host["PidsLimit"] == 512,
    "mem_limit = memswap_limit": lambda body, host: host["Memory"] == host["MemorySwap"] > 0,
    "nano_cpus": lambda body, host: host["NanoCpus"] == 1_500_000_000,
    "init": lambda body, host: host["Init"] is ("StopSignal" not in body),
    "ipc_mode": lambda body, host: host["IpcMode"] == "private",
    "cgroupns": lambda body, host: host["CgroupnsMode"] == "private",
    "no namespace of the host's": lambda body, host: (
        not host.keys() & {"PidMode", "UTSMode", "UsernsMode"}
    ),
    "shm_size": lambda body, host: host["ShmSize"] == 64 << 20,
    "ulimits nofile": lambda body, host: (
        {"Name": "nofile", "Soft": 4096, "Hard": 4096} in host["Ulimits"]
    ),
    "ulimits core": lambda body, host: {"Name": "core", "Soft": 0, "Hard": 0} in host["Ulimits"],
    # The table's bounded log would keep the attach stream's traffic; the launcher bounds its own.
    "log_config": lambda body, host: host["LogConfig"] == {"Type": "none"},
    "use_config_proxy": lambda body, host: not any("proxy" in v.lower() for v in body["Env"]),
    "Mounts, never Binds": lambda body, host: "Mounts" in host and "Binds" not in host,
    "network": lambda body, host: host["NetworkMode"] == "none",
    "no ports": lambda body, host: "PortBindings" not in host and "ExposedPorts" not in body,
    "labels": lambda body, host: (
        body["Labels"].keys()
        == {f"moat.nb.{name}" for name in ("sandbox", "role", "project", "owner", "spec")}
    ),
    "no restart": lambda body, host: "RestartPolicy" not in host and host["AutoRemove"] is True,
}


@pytest.mark.parametrize("row", TABLE)
@pytest.mark.parametrize("role", ["kernel", "sidecar"])
def test_each_row_of_the_hardening_table_is_rendered(
    row: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    body = render(Docker("docker", {}), replace(SPEC, role=role))["body"]
    assert TABLE[row](body, body["HostConfig"])
