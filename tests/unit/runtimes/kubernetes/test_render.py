"""One sandbox rendered whole, held against the published schemas of several versions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest

from moat_nb.config.model import ClusterOptions
from moat_nb.host.machine import User
from moat_nb.planning.limits import MIB, Limits
from moat_nb.planning.mounts import MountPlan, Tmpfs, Volume, build
from moat_nb.planning.spec import ContainerSpec, SandboxSpec
from moat_nb.runtimes.kubernetes.render import (
    PodOptions,
    claim,
    copier,
    object_name,
    pod,
    uses_label,
)

VERSIONS = ("1.25", "1.29", "1.37")
"""Later ones than `make test-kubernetes` runs."""

SPEC = ContainerSpec(
    name="moat-My_Project-0123abcd",
    role="kernel",
    project="/home/ada/p",
    runtime="kubernetes",
    image="example.org/p:1",
    command=("python3", "/run/moat/guest", "{}", "--sockets=/s"),
    user=User(1000, 1001),
    env=(("A", "b=c d"), ("HOME", "/home/moatuser")),
    workdir="/workspace",
    mounts=MountPlan(
        mounts=build(
            [
                Volume(name="moat.workspace.0123", target="/workspace", copy_of="/home/ada/p"),
                Volume(name="moat-P-db", target="/db", read_only=True),
                Tmpfs(target="/workspace/.venv", size=3 * MIB),
                Tmpfs(target="/home/moatuser", size=MIB, role="home"),
            ]
        )
    ),
    limits=Limits(memory=1 << 30, cpus=1.5, shm=MIB),
    hosts=("db",),
    labels=(("moat.nb.project", "/home/ada/p"),),
    tunnel=True,
    elsewhere=True,
)
OPTIONS = ClusterOptions(
    storage_class="fast",
    service_account="kernels",
    runtime_class="gvisor",
    image_pull_secrets=("pull",),
    node_selector=(("disk", "ssd"),),
    tolerations=((("key", "gpu"), ("operator", "Exists")),),
    resources=(("nvidia.com/gpu", "1"),),
)
PODS = PodOptions(cluster=OPTIONS, owner="0123", lifetime=100.0)


def rendered(options: PodOptions = PODS, spec: ContainerSpec = SPEC) -> dict[str, Any]:
    return pod(SandboxSpec(kernel=spec), options)


def memory(number: int, size: int) -> dict[str, Any]:
    return {
        "name": f"tmpfs-{number}",
        "emptyDir": {"medium": "Memory", "sizeLimit": str(size)},
    }


def test_a_pod_as_a_whole() -> None:
    words = rendered()
    (container,) = words["spec"].pop("containers")
    command = container.pop("command")
    assert command[:3] == ["python3", "-I", "-c"] and "first program" in command[3].lower()
    assert command[4:] == [
        *("/run/moat/stream", '[["core", 0, 0], ["nofile", 4096, 4096]]'),
        *("/run/moat/guest", "{}", "--sockets=/s"),
    ]
    assert container == {
        "name": "kernel",
        "image": "example.org/p:1",
        "workingDir": "/workspace",
        "env": [{"name": "A", "value": "b=c d"}, {"name": "HOME", "value": "/home/moatuser"}],
        "terminationMessagePath": "/root/moat-ended",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "resources": {
            "limits": {"memory": str(1 << 30), "nvidia.com/gpu": "1", "cpu": "1500m"},
            "requests": {"memory": str(256 * MIB), "cpu": "100m"},
        },
        "volumeMounts": [
            {"name": "volume-0", "mountPath": "/db", "subPath": "workspace", "readOnly": True},
            {
                "name": "volume-1",
                "mountPath": "/workspace",
                "subPath": "workspace",
                "readOnly": False,
            },
            {"name": "tmpfs-2", "mountPath": "/home/moatuser"},
            {"name": "tmpfs-3", "mountPath": "/workspace/.venv"},
            {"name": "tmpfs-4", "mountPath": "/run/moat"},
            {"name": "tmpfs-5", "mountPath": "/dev/shm"},
        ],
    }
    assert words == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "moat-my-project-0123abcd-7a958e2a",
            "labels": {
                "moat.nb.role": "kernel",
                "moat.nb.owner": "0123",
                "moat.nb.uses.moat.workspace.0123": "1",
                "moat.nb.uses.moat-p-db-a50877a4": "1",
            },
            "annotations": {"moat.nb.project": "/home/ada/p"},
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "serviceAccountName": "kernels",
            "runtimeClassName": "gvisor",
            "imagePullSecrets": [{"name": "pull"}],
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "hostname": "sandbox",
            "activeDeadlineSeconds": 400,
            "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["db"]}],
            "dnsConfig": {
                "options": [{"name": "timeout", "value": "1"}, {"name": "attempts", "value": "1"}]
            },
            "volumes": [
                {"name": "volume-0", "persistentVolumeClaim": {"claimName": "moat-p-db-a50877a4"}},
                {
                    "name": "volume-1",
                    "persistentVolumeClaim": {"claimName": "moat.workspace.0123"},
                },
                memory(2, MIB),
                memory(3, 3 * MIB),
                memory(4, 16 * MIB),
                memory(5, MIB),
            ],
        },
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_all_that_is_made_is_of_the_published_form(version: str) -> None:
    bare = PodOptions(cluster=ClusterOptions(), owner="0")
    made = [rendered(), rendered(bare, replace(SPEC, hosts=(), network="bridge", gpus=2))]
    made += [copier("c", "i:1", User(1, 1), PODS, "moat-copier-0")]
    made += [claim("moat.workspace.0", OPTIONS, "0", "token"), claim("v", ClusterOptions(), "0")]
    for words in made:
        kubernetes_validate.validate(words, version, strict=True)


def test_only_who_fills_a_volume_has_its_group() -> None:
    """The mode of what is in memory would be 3777."""
    assert "fsGroup" not in rendered()["spec"]["securityContext"]
    assert copier("c", "i", User(1, 2), PODS, "n")["spec"]["securityContext"]["fsGroup"] == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("moat.workspace.0123", "moat.workspace.0123"),
        ("moat-p-db", "moat-p-db"),
        ("moat-P-db", "moat-p-db-a50877a4"),
        ("moat-p_db", "moat-p-db-ecaa2ae7"),
        ("x" * 70, "x" * 41 + "-c71bd109"),
    ],
)
def test_a_name_is_one_that_kubernetes_takes(name: str, expected: str) -> None:
    assert object_name(name) == expected and len(expected) <= 63
    assert len(uses_label(name)) <= 63
