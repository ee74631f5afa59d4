"""A SandboxSpec as a Pod, and a volume as a claim. Pure."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_nb.config.model import ClusterOptions
from moat_nb.host.machine import User
from moat_nb.planning.limits import MIB
from moat_nb.planning.mounts import Mount, Tmpfs, Volume
from moat_nb.planning.network import HOSTNAME
from moat_nb.planning.spec import LABEL, SERVICE_LABEL, ContainerSpec, SandboxSpec
from moat_nb.runtimes.base import ARCHIVE_TOP

__all__ = [
    "BRIDGE",
    "COPIED",
    "COPIER",
    "KERNEL",
    "OWNER",
    "ROLE",
    "TOKEN",
    "PodOptions",
    "claim",
    "container_name",
    "copier",
    "object_name",
    "pod",
    "uses_label",
]

HERE = Path(__file__).parent
PLACE = "/run/moat"
PLAIN = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
MOST_NAME = 50
"""Characters: a label has 63, and says more than the name."""
MEETING = f"{PLACE}/stream"
"""Where the first program meets who carries the stream."""
TERMINATION = "/root/moat-ended"
"""Each container has a file of its node's, which nothing limits, at this path: where its user may
not go, in images where /root is root's."""
PLACE_SIZE = 16 * MIB

COPIED = "/copy"
"""Where a copier has its claim."""

KERNEL, COPIER = "kernel", "copier"
"""Containers' names."""
ROLE, OWNER, TOKEN = f"{LABEL}.role", f"{LABEL}.owner", f"{LABEL}.token"

DEADLINE_SECONDS = 7 * 86400
"""Of a pod whose guest does not end it, as nothing else would."""
LATE_SECONDS = 300
"""From ``kernel.max_lifetime``, which the launcher keeps, to a pod's own end."""
COPIER_SECONDS = 3600
LEAST_MEMORY, LEAST_CPU = 256 * MIB, "100m"
"""What a node must have free; the limits are the plan's."""

Words = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PodOptions:
    cluster: ClusterOptions
    owner: str
    """Whose it is, for who cleans up."""
    lifetime: float | None = None
    """``kernel.max_lifetime``."""


@functools.cache
def _text(program: str) -> str:
    return (HERE / "inside" / f"{program}.py").read_text(encoding="utf-8")


def _bridge() -> tuple[str, ...]:
    return ("python3", "-I", "-S", "-c", _text("bridge"), MEETING)


BRIDGE = _bridge()
"""The command that carries a launcher's stream."""


def object_name(name: str) -> str:
    """``name`` in the characters that Kubernetes allows, and short enough for a label; no two
    names become one."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if PLAIN.fullmatch(name) and len(name) <= MOST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{plain[: MOST_NAME - 9].rstrip('-')}-{digest}"


def uses_label(volume: str) -> str:
    """Of each pod that has a volume."""
    return f"{LABEL}.uses.{object_name(volume)}"[:63].rstrip("-.")


def pod(sandbox: SandboxSpec, options: PodOptions) -> Words:
    """The Pod with all of a sandbox's containers."""
    kernel = sandbox.kernel
    volumes: Words = {}
    containers = [_kernel(kernel, options.cluster, volumes)]
    containers += [_sidecar(spec, options.cluster, volumes) for spec in sandbox.sidecars]
    lifetime = options.lifetime
    deadline = DEADLINE_SECONDS if lifetime is None else int(lifetime) + LATE_SECONDS
    words = {
        **_shared(kernel.user, options.cluster),
        "hostname": HOSTNAME,
        "activeDeadlineSeconds": deadline,
        "containers": containers,
        "volumes": list(volumes.values()),
    }
    if kernel.hosts:
        words["hostAliases"] = [{"ip": "127.0.0.1", "hostnames": list(kernel.hosts)}]
    if kernel.network == "none":
        # A name server that a closed network keeps it from is not waited for.
        brief = [{"name": "timeout", "value": "1"}, {"name": "attempts", "value": "1"}]
        words["dnsConfig"] = {"options": brief}
    mounts = (mount for spec in sandbox.containers for mount in spec.mounts)
    uses = {uses_label(mount.name): "1" for mount in mounts if isinstance(mount, Volume)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": object_name(kernel.name),
            "labels": {ROLE: KERNEL, OWNER: options.owner, **uses},
            "annotations": dict(kernel.labels),
        },
        "spec": words,
    }


def copier(claim_name: str, image: str, user: User, options: PodOptions, name: str) -> Words:
    """A Pod that has a claim at :data:`COPIED` and does nothing, for who fills or reads it."""
    mount = {"name": "copy", "mountPath": COPIED}
    shared = _shared(user, options.cluster)
    # Not where kernels are, as what is in memory would be of another mode with it.
    shared["securityContext"] |= {
        "fsGroup": user.gid,
        "fsGroupChangePolicy": "OnRootMismatch",
    }
    words = {
        **shared,
        "activeDeadlineSeconds": COPIER_SECONDS,
        "containers": [
            {
                "name": COPIER,
                "image": image,
                "command": ["sleep", str(COPIER_SECONDS)],
                "securityContext": _security(),
                "resources": {"limits": {"memory": str(LEAST_MEMORY)}},
                "volumeMounts": [mount],
            }
        ],
        "volumes": [_claimed("copy", claim_name)],
    }
    labels = {ROLE: COPIER, OWNER: options.owner}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": words,
    }


def claim(name: str, options: ClusterOptions, owner: str, token: str = "") -> Words:
    """Of a volume that pods of one node at a time have."""
    spec: Words = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": f"{options.storage_mb}Mi"}},
    }
    if options.storage_class is not None:
        spec["storageClassName"] = options.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": object_name(name),
            "labels": {OWNER: owner},
            "annotations": {TOKEN: token},
        },
        "spec": spec,
    }


def _shared(user: User, options: ClusterOptions) -> Words:
    words: Words = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user.uid,
            "runAsGroup": user.gid,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    given = {
        "serviceAccountName": options.service_account,
        "runtimeClassName": options.runtime_class,
        "imagePullSecrets": [{"name": name} for name in options.image_pull_secrets],
        "nodeSelector": dict(options.node_selector),
        "tolerations": [dict(each) for each in options.tolerations],
    }
    return {**words, **{name: value for name, value in given.items() if value}}


def _security() -> Words:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def container_name(spec: ContainerSpec) -> str:
    """In its pod."""
    return KERNEL if spec.role == "kernel" else object_name(dict(spec.labels)[SERVICE_LABEL])


def _kernel(spec: ContainerSpec, options: ClusterOptions, volumes: Words) -> Words:
    guest, *words = spec.command[1:]
    limits = json.dumps(spec.limits.ulimits)
    boot = (spec.command[0], "-I", "-c", _text("boot"), MEETING, limits, guest)
    own = (
        Tmpfs(target=PLACE, size=PLACE_SIZE, role="sockets"),
        Tmpfs(target="/dev/shm", size=spec.limits.shm, role="tmp"),
    )
    words = [*boot, *words]
    return _container(spec, words, options, [*spec.mounts, *own], volumes)


def _sidecar(spec: ContainerSpec, options: ClusterOptions, volumes: Words) -> Words:
    """Its stdin is held by one attach, whose end ends it."""
    shm = Tmpfs(target="/dev/shm", size=spec.limits.shm, role="tmp")
    words = _container(spec, [*spec.command], options, [*spec.mounts, shm], volumes)
    user = {"runAsUser": spec.user.uid, "runAsGroup": spec.user.gid}
    words["securityContext"] |= user
    return {**words, "stdin": True, "stdinOnce": True}


def _container(
    spec: ContainerSpec,
    command: list[str],
    options: ClusterOptions,
    mounts: list[Mount],
    volumes: Words,
) -> Words:
    words = {
        "name": container_name(spec),
        "image": spec.image,
        "command": command,
        "env": [{"name": name, "value": value} for name, value in spec.env],
        "terminationMessagePath": TERMINATION,
        "securityContext": _security(),
        "resources": _resources(spec, options if spec.role == "kernel" else ClusterOptions()),
        "volumeMounts": list(_mounted(mounts, volumes)),
    }
    return {**words, "workingDir": spec.workdir} if spec.workdir else words


def _resources(spec: ContainerSpec, options: ClusterOptions) -> Words:
    limits = {"memory": str(spec.limits.memory)}
    least = {"memory": str(min(spec.limits.memory, LEAST_MEMORY)), "cpu": LEAST_CPU}
    for name, amount in options.resources:
        (least if name in least else limits)[name] = amount
    if spec.limits.cpus is not None:
        limits["cpu"] = f"{round(spec.limits.cpus * 1000)}m"
    if isinstance(spec.gpus, int):
        limits["nvidia.com/gpu"] = str(spec.gpus)
    if spec.limits.cpus is not None and spec.limits.cpus < 0.1:
        least["cpu"] = limits["cpu"]
    return {"limits": limits, "requests": least}


def _mounted(mounts: list[Mount], volumes: Words) -> Iterator[Words]:
    """The container's mounts; ``volumes`` gets what they are of."""
    for mount in mounts:
        if isinstance(mount, Tmpfs):
            name = f"tmpfs-{len(volumes)}"
            size = {"medium": "Memory", "sizeLimit": str(mount.size)}
            volumes[name] = {"name": name, "emptyDir": size}
            yield {"name": name, "mountPath": mount.target}
        elif isinstance(mount, Volume):
            name = f"volume-{len(volumes)}"
            volumes[name] = _claimed(name, object_name(mount.name))
            # The top of a volume is its class's; a copier has made a directory of the user's there.
            place = {"mountPath": mount.target, "subPath": ARCHIVE_TOP}
            yield {"name": name, **place, "readOnly": mount.read_only}


def _claimed(name: str, claim_name: str) -> Words:
    return {"name": name, "persistentVolumeClaim": {"claimName": claim_name}}
