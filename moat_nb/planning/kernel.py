"""From a Config to a ContainerSpec: which runtime, which mounts, which limits. No engine needed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from moat_nb.config.model import WORKSPACE, Config
from moat_nb.errors import ConfigError, NotSupportedYet, Problem
from moat_nb.host.machine import MOAT_USER, Host, User
from moat_nb.planning.image import image_plan
from moat_nb.planning.layout import make_mounts
from moat_nb.planning.limits import MIB, Hardening, Limits
from moat_nb.planning.mounts import EmptyFile, MountPlan
from moat_nb.planning.network import NetworkPlan, plan_network
from moat_nb.planning.spec import GUEST_PATH, HOME, ContainerSpec
from moat_nb.runtimes.base import Runtime

__all__ = ["unsupported"]


WITH_SIDECARS = ("docker", "podman")
"""The runtimes whose containers can share the sandbox's network namespace."""

PRELOAD = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "ipykernel.debugger",
    "IPython.core.completer",
    "IPython.core.logger",
)
"""What every ipykernel imports between its start and its first reply; debugpy is a third of it."""


def make_spec(
    config: Config, runtime: Runtime, host: Host, why: str, *, kernels: bool = True
) -> ContainerSpec:
    """The spec of a project's kernel sandbox on ``runtime``, chosen for the reason ``why``.

    ``kernels``: whether the guest imports what they need ahead of the first.
    """
    problems = (*unsupported(config), *_without_sidecars(config, runtime.name))
    if problems:
        raise NotSupportedYet(problems)
    memory = config.container.memory_mb
    limits = Limits(
        memory=memory * MIB if memory is not None else host.memory // 2,
        pids=config.kernel.pids,
        cpus=config.container.cpus,
        ulimits=_ulimits(config),
    )
    sockets = runtime.name != "apple"
    network = plan_network(config, runtime=runtime.name, sockets=sockets, trust=host.trust)
    if network.problems:
        raise ConfigError(network.problems)
    mounts = make_mounts(config, host, limits)
    # Looks at the workspace, so after the survey, which says in words when there is none.
    user = kernel_user(config, host)
    on_host = runtime.name == "bubblewrap"
    image = None if on_host else image_plan(config)
    spec = ContainerSpec(
        name=config.name,
        role="kernel",
        project=str(config.directory),
        runtime=runtime.name,
        image=None if image is None else image.base,
        command=(
            host.executable if on_host else "python3",
            GUEST_PATH,
            _guest_settings(mounts, config, network, kernels),
        ),
        user=user,
        env=_environment(config, host, network, on_host=on_host),
        workdir=WORKSPACE,
        mounts=mounts,
        limits=limits,
        hardening=Hardening(isolation=config.kernel.isolation),
        hosts=tuple(service.name for service in config.wanted_services),
        network=network.network,
        egress=network.egress,
        trust=network.trust,
        gpus=config.kernel.gpus,
        dns=config.container.dns,
    )
    notices = (
        why,
        *network.notices,
        *_user_notices(config, user, host),
        *(image.notices if image is not None else ()),
        *runtime.notices(spec),
    )
    return replace(spec, notices=notices)


def kernel_user(config: Config, host: Host) -> User:
    """Who the kernel runs as: the launcher; if that is root, the workspace's owner, else
    ``moatuser``.

    A launcher that is not root never gets another user's rights, whoever owns the workspace.
    """
    if host.user.uid != 0:
        return host.user
    status = _workspace(config).stat()
    return User(status.st_uid, status.st_gid) if status.st_uid != 0 else MOAT_USER


def _workspace(config: Config) -> Path:
    for mount in config.mounts:
        if mount.target == WORKSPACE:
            return mount.source
    return config.directory


def _guest_settings(mounts: MountPlan, config: Config, network: NetworkPlan, kernels: bool) -> str:
    excludes = [
        {"path": mount.target, "kind": "file" if isinstance(mount, EmptyFile) else "directory"}
        for mount in mounts.excludes
    ]
    forked = kernels and not config.kernel.argv
    preload = [*PRELOAD, *config.kernel.preload] if forked else []
    return json.dumps({"excludes": excludes, "preload": preload, "doors": network.doors})


def _environment(
    config: Config, host: Host, network: NetworkPlan, *, on_host: bool
) -> tuple[tuple[str, str], ...]:
    env = {"HOME": HOME, "USER": "moat", "LOGNAME": "moat", "LANG": "C.UTF-8"}
    if on_host:
        programs = str(Path(host.executable).parent)
        env["PATH"] = f"{programs}:/usr/local/bin:/usr/bin:/bin"
    env.update(network.env)
    env.update(config.env)
    return tuple(sorted(env.items()))


def _ulimits(config: Config) -> tuple[tuple[str, int, int], ...]:
    named = {limit[0]: limit for limit in (*Limits(memory=0).ulimits, *config.container.ulimits)}
    return tuple(sorted(named.values()))


def _user_notices(config: Config, user: User, host: Host) -> tuple[str, ...]:
    words = []
    if host.user.uid == 0:
        workspace = _workspace(config)
        status = workspace.stat()
        writable = status.st_uid == user.uid or status.st_mode & 0o002
        words.append(f"user: {user}" + ("" if status.st_uid else " (moatuser, as root is refused)"))
        if not writable:
            words.append(
                f"{workspace} belongs to root: the kernel, {user}, cannot write there; "
                f"`chown {user} {workspace}` if it should"
            )
    return tuple(words)


def _without_sidecars(config: Config, runtime: str) -> tuple[Problem, ...]:
    """The services, on a runtime that has none."""
    if runtime in WITH_SIDECARS:
        return ()
    mend = f"use --runtime {' or '.join(WITH_SIDECARS)}, or list it in kernel.skip_dependencies"
    return tuple(
        Problem(
            where=service.where,
            what=f"{service.name} is a service, and {runtime} cannot run any beside a kernel",
            mend=mend,
        )
        for service in config.wanted_services
    )


def unsupported(config: Config) -> tuple[Problem, ...]:
    """Valid keys that this version does not honour: refused, never dropped."""
    kernel = config.kernel
    positions = config.where | {f"kernel.{key}": at for key, at in kernel.where.items()}

    def where(key: str) -> str:
        return positions.get(key) or positions.get(key.split(".", maxsplit=1)[0], config.path.name)

    asked = {
        ("ports", ""): bool(config.ports),
        ("workspace.mode", ": volume"): config.workspace_mode == "volume",
        ("kernel.idle_timeout", ""): kernel.idle_timeout is not None,
        ("kernel.max_lifetime", ""): kernel.max_lifetime is not None,
        ("kernel.cell_timeout", ""): kernel.cell_timeout is not None,
        ("kernel.transport", ": tcp"): kernel.transport == "tcp",
        ("kernel.preload", " beside kernel.argv"): bool(kernel.preload and kernel.argv),
    }
    return tuple(
        Problem(
            where=where(key),
            what=f"{key}{how} is not supported yet",
            mend=f"take {key} out",
        )
        for (key, how), used in asked.items()
        if used
    )
