"""A SandboxSpec in the Docker API's words. Pure."""

from __future__ import annotations

from typing import Any

from moat_nb.host.machine import User
from moat_nb.host.package import PACKAGE
from moat_nb.planning.limits import MIB
from moat_nb.planning.mounts import TMPFS_MODE, Bind, EmptyFile, Tmpfs, Volume
from moat_nb.planning.network import HOSTNAME
from moat_nb.planning.spec import GUEST_PATH, ContainerSpec, SandboxSpec
from moat_nb.runtimes.docker import seccomp
from moat_nb.runtimes.docker.engine import EngineFacts

__all__ = ["GUEST_VOLUME", "bodies"]

GUEST_VOLUME = {"Type": "volume", "Target": GUEST_PATH}
"""One of a container's own, which is removed with it; to be filled before it starts."""

INODES_PER_MIB = 256
"""Twice what ``npm install`` of small files needs (4 KiB a file), so inodes cannot be used to
exhaust memory that ``size`` does not count."""


def bodies(sandbox: SandboxSpec, facts: EngineFacts) -> tuple[dict[str, Any], ...]:
    """For each container the body of ``POST /containers/create``, and the name it goes under."""
    network = f"container:{sandbox.kernel.name}"
    return tuple(
        {"name": spec.name, "body": _body(spec, network, facts)} for spec in sandbox.containers
    )


def _body(spec: ContainerSpec, shared_network: str, facts: EngineFacts) -> dict[str, Any]:
    words: dict[str, Any] = {
        "Image": spec.image,
        "Cmd": list(spec.command),
        "Entrypoint": [],
        "User": str(_user(spec, facts)),
        "Env": [f"{name}={value}" for name, value in spec.env],
        "WorkingDir": spec.workdir,
        "Labels": dict(spec.labels),
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "NetworkDisabled": False,
        "HostConfig": _host_config(spec, shared_network, facts),
    }
    if spec.role == "kernel":
        # `docker stop`, and an engine that shuts down: PID 1 takes no other signal.
        words["StopSignal"] = "SIGKILL"
    if spec.network != "sandbox":  # else it is that container's
        words["Hostname"] = HOSTNAME
    return words


def _user(spec: ContainerSpec, facts: EngineFacts) -> User:
    # In a rootless engine uid 0 inside is the user outside: files it writes are the user's.
    return User(0, 0) if facts.rootless and not spec.keep_user else spec.user


def _host_config(spec: ContainerSpec, shared_network: str, facts: EngineFacts) -> dict[str, Any]:
    limits, hardening = spec.limits, spec.hardening
    config: dict[str, Any] = {
        "AutoRemove": True,
        # The guest is PID 1: no signal from inside reaches it, and it reaps what nobody waits for.
        "Init": spec.role == "sidecar",
        "NetworkMode": shared_network if spec.network == "sandbox" else spec.network,
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "CapDrop": list(hardening.cap_drop),
        "SecurityOpt": [
            *(["no-new-privileges:true"] if hardening.no_new_privileges else []),
            seccomp.option(podman=facts.podman),
        ],
        "ReadonlyRootfs": hardening.read_only_root,
        "PidsLimit": limits.pids,
        "Memory": limits.memory,
        "MemorySwap": limits.memory,
        "ShmSize": limits.shm,
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard} for name, soft, hard in limits.ulimits
        ],
        # Kernels' output runs over the attach stream, and the launcher keeps a bounded log of it;
        # the engine need not keep another.
        "LogConfig": {"Type": "none"},
        "Mounts": _mounts(spec),
        "Tmpfs": _tmpfs(spec, facts),
    }
    if limits.cpus is not None:
        config["NanoCpus"] = round(limits.cpus * 1e9)
    own = (HOSTNAME,) if spec.network == "none" else ()  # in a network the engine gives it one
    if names := (*own, *spec.hosts):
        config["ExtraHosts"] = [f"{name}:127.0.0.1" for name in names]
    if spec.dns:
        config["Dns"] = list(spec.dns)
    if spec.gpus is not None:
        count = -1 if spec.gpus == "all" else spec.gpus
        config["DeviceRequests"] = [{"Count": count, "Capabilities": [["gpu"]]}]
    if hardening.isolation == "gvisor":
        config["Runtime"] = "runsc"
    return config


def _mounts(spec: ContainerSpec) -> list[dict[str, Any]]:
    """``Mounts``, not ``Binds``: a missing source is then an error, not a new directory."""
    guest = Bind(source=str(PACKAGE / "guest"), target=GUEST_PATH, read_only=True)
    here = spec.role == "kernel" and not spec.elsewhere
    rendered: list[dict[str, Any]] = []
    if spec.role == "kernel" and spec.elsewhere:
        rendered.append(GUEST_VOLUME)
    for mount in (*((guest,) if here else ()), *spec.mounts):
        if isinstance(mount, EmptyFile):
            empty = str(PACKAGE / "runtimes" / "empty")
            mount = Bind(source=empty, target=mount.target, read_only=True)  # noqa: PLW2901
        if isinstance(mount, Bind):
            rendered.append(
                {
                    "Type": "bind",
                    "Source": mount.source,
                    "Target": mount.target,
                    "ReadOnly": mount.read_only,
                }
            )
        elif isinstance(mount, Volume):
            rendered.append(
                {
                    "Type": "volume",
                    "Source": mount.name,
                    "Target": mount.target,
                    "ReadOnly": mount.read_only,
                }
            )
    return rendered


def _tmpfs(spec: ContainerSpec, facts: EngineFacts) -> dict[str, str]:
    """``HostConfig.Tmpfs``: the one form that every engine mounts as it is told.

    ``TmpfsOptions`` loses ``exec`` below API 1.46, and without ``uid=`` runc below 1.1.8 leaves
    a tmpfs over an existing directory 0755 root, which the guest could not put right. Podman
    refuses ``uid=`` and would copy the covered directory's files in without ``notmpcopyup``.
    """
    user = _user(spec, facts)
    tail = "notmpcopyup" if facts.podman else f"uid={user.uid},gid={user.gid}"
    rendered = {}
    for mount in spec.mounts:
        if isinstance(mount, Tmpfs):
            options = f"rw,exec,nosuid,nodev,mode={TMPFS_MODE:o},size={mount.size},{tail}"
            if not facts.podman:
                options += f",nr_inodes={mount.size // MIB * INODES_PER_MIB}"
            rendered[mount.target] = options
    return rendered
