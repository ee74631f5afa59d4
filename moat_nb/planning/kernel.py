"""The container of a project's kernels: which mounts, which limits, which user. It looks at the
host and starts nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from moat_nb.config.model import WORKSPACE, Config
from moat_nb.errors import Problem, collected
from moat_nb.guest.settings import ProvedMount, Settings, Skeleton
from moat_nb.host.machine import MOAT_USER, Host, User
from moat_nb.planning.accounts import NAME
from moat_nb.planning.caches import cache_binds, cache_environment, cache_problems
from moat_nb.planning.capabilities import Capabilities
from moat_nb.planning.elsewhere import on_volumes
from moat_nb.planning.image import SKELETON, ImagePlan, image_plan
from moat_nb.planning.interpreter import search_path, with_interpreter
from moat_nb.planning.lacks import lack_of, wanted
from moat_nb.planning.layout import lay_out
from moat_nb.planning.limits import MIB, Hardening, Limits, share
from moat_nb.planning.mounts import EmptyFile, MountPlan
from moat_nb.planning.network import PROXY, NetworkPlan, has_certificates, plan_network
from moat_nb.planning.ports import plan_ports
from moat_nb.planning.repository import git_variables, with_repository
from moat_nb.planning.spaces import spaces
from moat_nb.planning.spec import GUEST_PATH, HOME, VENV, ContainerSpec
from moat_nb.planning.workspace_copy import copy_notices, copy_problems, directory_of

__all__ = ["PRELOAD", "KernelPlan", "kernel_user", "plan_kernel", "unsupported", "unwritable"]


PRELOAD = (
    "ipykernel.debugger",
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "IPython.core.completer",
    "IPython.core.logger",
)
"""What every ipykernel imports between its start and its first reply, but for debugpy: the guest
leaves it to who debugs, and so the debugger comes before what imports it."""


@dataclass(frozen=True, kw_only=True)
class KernelPlan:
    spec: ContainerSpec
    image: ImagePlan | None
    """None on a runtime without images."""
    problems: tuple[Problem, ...]
    """All that is refused, with what :class:`Lack` there is; with any other, the spec is only good
    for finding more."""


def plan_kernel(
    config: Config, host: Host, runtime: Capabilities, *, kernels: bool = True
) -> KernelPlan:
    """The container of a project's kernels on a runtime that can do what ``runtime`` says.

    ``kernels``: whether the guest imports what they need ahead of the first.
    """
    host = replace(host, memory=runtime.memory or host.memory, cpus=runtime.cpus or host.cpus)
    limits = limits_of(config, host)
    problems = [*_refused(config, runtime), *_too_large(config, limits)]
    network = plan_network(config, trust=host.trust)
    ports = plan_ports(config, network.egress)
    problems += (*network.problems, *ports.problems)
    tunnel = config.kernel.transport == "stream" or not runtime.shares_unix_sockets
    closed = runtime.has_network and network.network == "none" and not config.kernel.unenforced
    mounts, image = MountPlan(mounts=()), None
    with collected(problems):
        mounts = _mounts(config, host, runtime, limits)
    if runtime.images:
        image = replace(image_plan(config), limits=limits)
        problems += image.lacks
    user = kernel_user(config, host)
    spec = ContainerSpec(
        name=config.name,
        role="kernel",
        project=str(config.directory),
        runtime=runtime.name,
        image=None if image is None else image.base,
        command=(
            host.executable if runtime.on_this_host else "python3",
            GUEST_PATH,
            *_guest_settings(mounts, limits, image, config, network, kernels, tunnel)
            ._replace(grace=runtime.grace, closed=closed)
            .to_argv(),
        ),
        user=user,
        accounts=runtime.images and runtime.binds_files and not runtime.elsewhere,
        elsewhere=bool(runtime.elsewhere),
        env=_environment(config, host, network, runtime),
        workdir=WORKSPACE,
        mounts=mounts,
        limits=limits,
        hardening=Hardening(isolation=config.kernel.isolation),
        hosts=tuple(service.name for service in config.wanted_services) if runtime.sidecars else (),
        network=network.network,
        egress=network.egress,
        trust=network.trust,
        gpus=config.kernel.gpus,
        dns=config.container.dns if network.network == "bridge" else (),
        ports=ports.ports,
        tunnel=tunnel,
        grace=runtime.grace,
        closed=closed,
        notices=(
            *network.notices,
            *mounts.notices,
            *_notices(config, host, runtime, user, image),
        ),
    )
    return KernelPlan(spec=spec, image=image, problems=tuple(problems))


def _refused(config: Config, runtime: Capabilities) -> Iterator[Problem]:
    yield from copy_problems(config, runtime.elsewhere)
    yield from unsupported(config)
    yield from cache_problems(config)
    yield from _service_problems(config, runtime)


def _mounts(config: Config, host: Host, runtime: Capabilities, limits: Limits) -> MountPlan:
    """Raises ConfigError."""
    mounts = lay_out(
        config.mounts,
        config.volumes,
        config=config,
        limits=limits,
        host=host,
        files=runtime.binds_files,
        ways=runtime.parents_are_roots,
        user=kernel_user(config, host) if host.user.uid == 0 else None,
        caches=() if any(cache_problems(config)) else cache_binds(config, host),
    )
    mounts = with_repository(mounts, host)
    if runtime.elsewhere:
        source = Path(os.path.realpath(_workspace(config)))
        mounts = on_volumes(mounts, config, directory_of(source, host, runtime.elsewhere))
    if not runtime.on_this_host:
        return mounts
    return with_interpreter(mounts, config.place("kernel.runtime"), host)


def limits_of(config: Config, host: Host) -> Limits:
    given = config.container.memory_mb
    memory = given * MIB if given is not None else host.memory // 2
    return Limits(
        memory=memory,
        shm=share(config.kernel.shm_size_mb, memory),
        pids=config.kernel.pids,
        # As many as there are is no limit, and some runtimes could not set it.
        cpus=None if _all_cpus(config, host) else config.container.cpus,
        ulimits=_ulimits(config),
        required=config.kernel.require_limits,
    )


def _too_large(config: Config, limits: Limits) -> Iterator[Problem]:
    kernel = config.kernel
    sizes = {"home": kernel.home_size_mb, "tmp": kernel.tmp_size_mb, "shm": kernel.shm_size_mb}
    for name, size in sizes.items():
        if size is not None and size * MIB > limits.memory:
            key = f"kernel.{name}_size"
            yield Problem(
                where=config.place(key),
                what=f"{key} {size} is more than the memory, {limits.memory // MIB} MB, which what "
                "it holds counts as",
                hint=f"give less, or container.memory: {size} or more",
            )


def _all_cpus(config: Config, host: Host) -> bool:
    asked = config.container.cpus
    return asked is not None and host.cpus is not None and asked >= host.cpus


def kernel_user(config: Config, host: Host) -> User:
    """Who the kernel runs as: the launcher; if that is root, the workspace's owner, else
    ``moatuser``.

    A launcher that is not root never gets another user's rights, whoever owns the workspace.
    """
    if host.user.uid != 0:
        return host.user
    status = _workspace_status(config)
    return User(status.st_uid, status.st_gid) if status and status.st_uid != 0 else MOAT_USER


def _workspace(config: Config) -> Path:
    for mount in config.mounts:
        if mount.target == WORKSPACE:
            return mount.copy_of or mount.source
    return config.directory


def _workspace_status(config: Config) -> os.stat_result | None:
    """None where there is none, which the mounts' layout says in words."""
    try:
        return _workspace(config).stat()
    except OSError:
        return None


def _guest_settings(
    mounts: MountPlan,
    limits: Limits,
    image: ImagePlan | None,
    config: Config,
    network: NetworkPlan,
    kernels: bool,
    tunnel: bool,
) -> Settings:
    proved = [
        ProvedMount(mount.target, "file" if isinstance(mount, EmptyFile) else "directory")
        for mount in mounts.excludes
    ]
    proved += [ProvedMount(mount.target, "way") for mount in mounts.ways]
    proved += [ProvedMount(volume.target, "volume") for volume in mounts.written_volumes]
    forked = kernels and config.kernel.forked
    preload = [*PRELOAD, *config.kernel.preload] if forked else []
    places = [space.path for space in spaces(mounts, limits)]
    return Settings(
        proved,
        preload,
        network.port_forwards,
        venv=VENV,
        spaces=places,
        skeleton=Skeleton(SKELETON, HOME) if image is not None and image.has_hooks else None,
        ports=tuple(dict.fromkeys(port for _, port in config.ports)),
        proxy_socket=PROXY if tunnel and network.egress is not None else "",
        files=int(tunnel and has_certificates(network.trust, network.egress)),
    )


def _environment(
    config: Config, host: Host, network: NetworkPlan, runtime: Capabilities
) -> tuple[tuple[str, str], ...]:
    env = {"HOME": HOME, "USER": NAME, "LOGNAME": NAME, "LANG": "C.UTF-8"}
    if runtime.on_this_host:
        env["PATH"] = search_path(host)
    if host.timezone:
        env["TZ"] = host.timezone
    # Many directories, as students' are, are not the launcher's own work.
    own = config.kernel.workspace == "project"
    env.update(git_variables(host.home if own else None))
    env.update(network.env)
    env.update(cache_environment(config))
    if not runtime.has_network:  # else the guest, which proves it, takes nothing that a file says
        env.update(config.env)
    return tuple(sorted(env.items()))


def _ulimits(config: Config) -> tuple[tuple[str, int, int], ...]:
    named = {limit[0]: limit for limit in (*Limits(memory=0).ulimits, *config.container.ulimits)}
    return tuple(sorted(named.values()))


def _notices(
    config: Config, host: Host, runtime: Capabilities, user: User, image: ImagePlan | None
) -> Iterator[str]:
    yield from copy_notices(config, runtime.elsewhere)
    if not runtime.unknown_user:
        yield from _user_notices(config, user, host)
    yield from _cpu_notices(config, host)
    if image is not None:
        yield from image.notices


def _user_notices(config: Config, user: User, host: Host) -> Iterator[str]:
    status = _workspace_status(config)
    if host.user.uid != 0 or status is None:
        return
    yield f"user: {user}" + ("" if status.st_uid else " (moatuser, as root is refused)")


def unwritable(config: Config, host: Host) -> Iterator[str]:
    """That the workspace is root's, and no kernel is."""
    status, user = _workspace_status(config), kernel_user(config, host)
    if host.user.uid != 0 or status is None or config.workspace_mode == "volume":
        return
    if status.st_uid != user.uid and not status.st_mode & 0o002:
        workspace = _workspace(config)
        yield (
            f"{workspace} belongs to root: the kernel, {user}, cannot write there; "
            f"`chown -R {user} {workspace}` if it should"
        )


def _cpu_notices(config: Config, host: Host) -> Iterator[str]:
    if _all_cpus(config, host) and config.container.cpus != host.cpus:
        yield f"container.cpus: {config.container.cpus:g}, and this machine has {host.cpus}"


def _service_problems(config: Config, runtime: Capabilities) -> tuple[Problem, ...]:
    """The services, on a runtime that has none: dependencies are done without, and those of
    ``kernel.services`` are refused."""
    if runtime.sidecars:
        return ()
    why = f"{runtime.name} cannot run any service beside a kernel"
    hint = "use --runtime docker or podman"
    dependencies = [item for item in wanted(config) if item.kind == "service"]
    names = {item.name for item in dependencies}
    return (
        *(lack_of(item, why, hint) for item in dependencies),
        *(
            Problem(where=service.where, what=f"{service.name}: {why}", hint=hint, supported=False)
            for service in config.wanted_services
            if service.name not in names
        ),
    )


def unsupported(config: Config) -> tuple[Problem, ...]:
    """Valid keys that this version does not honour: refused, never dropped."""
    kernel = config.kernel
    asked = {
        ("kernel.preload", " beside kernel.argv"): bool(kernel.preload and kernel.argv),
        ("kernel.preload", " beside kernel.transport: tcp"): bool(
            kernel.preload and not kernel.argv and not kernel.forked
        ),
    }
    return tuple(
        Problem(
            where=config.place(key),
            what=f"{key}{how} is not supported yet",
            hint=f"take {key} out",
            supported=False,
        )
        for (key, how), used in asked.items()
        if used
    )
