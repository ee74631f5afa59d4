"""What a moat.yaml asks of the host, as a value: all that goes beyond a sandbox of its own project.

It is made of the plan, so that no two spellings of a file are two things, and of the file alone:
what the user adds at a start (an option, a keyword) is the user's own word.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from moat_nb.config.model import (
    WORKSPACE,
    ClusterOptions,
    Config,
    KernelOptions,
    MountEntry,
    OtherMachine,
    Rule,
    Service,
    VolumeEntry,
)
from moat_nb.planning.kernel import kernel_user
from moat_nb.planning.limits import MIB, Limits
from moat_nb.planning.mounts import Bind, Volume
from moat_nb.planning.spec import ContainerSpec
from moat_nb.sandbox.project import LaunchPlan

__all__ = ["KERNELS", "POLICIES", "Permissions", "Seen", "of_plan", "own_project"]

KERNELS = "the kernels"

POLICIES = ("none", "strict", "permissive", "bridge")
"""From the closest to the loosest."""

FREE_POOL = 1
"""Spares that need no approval: each has a sandbox's whole limits once more."""

DEFAULT_PIDS = Limits(memory=0).pids
NO_DEFAULT = ("cpu", "data", "fsize", "nproc", "rss", "stack")
"""Ulimits that a sandbox has none of where the file says nothing: a file can only make them closer
(``pids`` and ``memory`` hold beside them)."""
DEFAULT_ULIMITS = {
    **dict.fromkeys(NO_DEFAULT, float("inf")),
    **{name: hard for name, _, hard in Limits(memory=0).ulimits},
}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a container sees of the host."""

    by: str
    """:data:`KERNELS`, or a service's name."""
    source: str
    """Absolute, without a link in it; or which volume of the engine's."""
    writable: bool
    excludes: tuple[str, ...] = ()
    """Absolute paths and globs below ``source``."""
    where: str = field(default="", compare=False)
    note: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.source}, {'writable' if self.writable else 'read-only'}, for {self.by}"


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """The whole of what a file asks for, or of what was approved."""

    mounts: tuple[Seen, ...] = ()
    policy: str = "permissive"
    rules: tuple[str, ...] = ()
    limits: tuple[tuple[str, float], ...] = ()
    """Those that are not the default; by name."""
    require_limits: bool = False
    runtime: str = ""
    isolation: str = ""
    protect: tuple[str, ...] = ()
    """Names that the file adds to those that are protected: of which none may be taken away."""
    others: tuple[tuple[str, str], ...] = ()
    """``(kind, which)``: secrets, hooks, ports of this machine, ..."""
    places: dict[str, str] = field(default_factory=dict, compare=False)
    """``file:line:column`` of what is no mount, by kind."""
    defaults: dict[str, float] = field(default_factory=dict, compare=False)
    """The limits of this machine's sandboxes where a file says nothing."""


# ---------------------------------------------------------------- what is asked


def of_plan(plan: LaunchPlan) -> Permissions:
    file = plan.file
    return Permissions(
        mounts=tuple(_mounts(plan)),
        policy=file.network.policy or "permissive",
        rules=tuple(map(_rule, file.network.rules)),
        limits=tuple(_limits(file, plan.host.memory)),
        require_limits=file.kernel.require_limits,
        runtime=file.kernel.runtime or file.runtime or "",
        isolation=file.kernel.isolation or "",
        protect=file.kernel.protect,
        others=tuple(dict.fromkeys(_others(plan))),
        places={kind: file.place(key) for kind, key in PLACES.items()},
        defaults=_defaults(plan.host.memory),
    )


def own_project(project: str, asked: Permissions) -> Permissions:
    """What needs no approval: all of the project, any public host by the proxy."""
    return Permissions(
        mounts=(Seen(by=KERNELS, source=os.path.realpath(project), writable=True),),
        rules=asked.rules if asked.policy == "permissive" else (),
        runtime=asked.runtime,
        isolation=asked.isolation,
    )


PLACES = {
    "policy": "network",
    "limit": "container",
    "require_limits": "kernel.require_limits",
    "runtime": "kernel.runtime",
    "isolation": "kernel.isolation",
    "secret": "secrets",
    "secret of a service": "services",
    "hook": "hooks",
    "port of this machine": "network.host",
    "port": "ports",
    "GPUs": "kernel.gpus",
    "another machine": "kernel.on",
    "cluster": "kernel.kubernetes",
    "cluster's network": "kernel.kubernetes",
    "registry": "kernel.kubernetes",
    "protect": "kernel.protect",
    "unprotect": "kernel.unprotect",
    "name server": "container.dns",
    "service run as another user": "kernel.services",
    "kernels run as": "mounts",
}


def _mounts(plan: LaunchPlan) -> Iterator[Seen]:
    binds = {sidecar.name: _sources(sidecar.spec) for sidecar in plan.sidecars}
    binds[KERNELS] = _sources(plan.spec)
    for mount in plan.file.mounts:
        yield _seen(KERNELS, mount, binds[KERNELS], plan)
    for service in plan.file.wanted_services:
        for mount in service.mounts:
            yield _seen(service.name, mount, binds.get(service.name, {}), plan)
    for bind in plan.spec.mounts:
        if isinstance(bind, Bind) and bind.role == "git":
            where = next((m.where for m in plan.file.mounts if m.target == WORKSPACE), "")
            note = ", the repository that the workspace is a worktree of"
            yield Seen(by=KERNELS, source=bind.source, writable=False, where=where, note=note)
    yield from _volumes(KERNELS, plan.spec, plan.file.volumes, plan.file)
    for sidecar in plan.sidecars:
        service = sidecar.service.entry
        yield from _volumes(service.name, sidecar.spec, service.volumes, plan.file, sidecar.where)


def _volumes(
    by: str, spec: ContainerSpec, entries: Iterable[VolumeEntry], file: Config, where: str = ""
) -> Iterator[Seen]:
    """All that the container has, those of the plan's own too. They are kept by the project's name,
    which any file can say, so none is one project's own."""
    places = {entry.target: entry.where for entry in entries}
    for mount in spec.mounts:
        if not isinstance(mount, (Bind, Volume)) or mount.role == "cache" or mount.copy_of:
            continue  # it is kept by the project's directory, and no other project's sees it
        if isinstance(mount, Volume):
            source = f"the engine's volume {mount.name}"
        elif mount.source in spec.mounts.keep:
            source = mount.source
        else:
            continue
        yield Seen(
            by=by,
            source=source,
            writable=not mount.read_only,
            where=places.get(mount.target, where),
            note=f", which all projects named {file.name} share",
        )


def _sources(spec: ContainerSpec) -> dict[str, str]:
    return {mount.target: mount.source for mount in spec.mounts if isinstance(mount, Bind)}


def _seen(by: str, mount: MountEntry, binds: dict[str, str], plan: LaunchPlan) -> Seen:
    """The source as the plan has it, unless an option has put something else in its place."""
    source = os.path.realpath(mount.source)
    if by != KERNELS or mount in plan.config.mounts:
        source = binds.get(mount.target, source)
    excludes = sorted({f"{source.rstrip('/')}/{exclude.pattern}" for exclude in mount.exclude})
    return Seen(
        by=by,
        source=source,
        writable=not mount.read_only,
        excludes=tuple(excludes),
        where=mount.where,
    )


def _rule(rule: Rule) -> str:
    return "; ".join((rule.host, *(" ".join(line) for line in rule.lines)))


def _limits(file: Config, ram: int) -> Iterator[tuple[str, float]]:
    """Those other than a sandbox's where the file says nothing; of several the loosest."""
    default, kernel = _defaults(ram), file.kernel
    memory = file.container.memory_mb or default["memory (MiB)"]
    asked: list[tuple[str, float]] = [
        ("memory (MiB)", memory),
        ("pids", kernel.pids),
        ("CPUs", file.container.cpus or float("inf")),
        ("tmpfs_size (MiB)", kernel.tmpfs_size_mb),
        ("pool", max(kernel.pool, FREE_POOL)),
    ]
    asked += [("memory (MiB)", service.memory_mb or memory) for service in file.wanted_services]
    for name, soft, hard in file.container.ulimits:
        asked.append((name, float("inf") if -1 in (soft, hard) else max(soft, hard)))
    loosest: dict[str, float] = {}
    for name, value in asked:
        loosest[name] = max(value, loosest.get(name, 0))
    yield from sorted((n, value) for n, value in loosest.items() if value != default.get(n))


def _defaults(ram: int) -> dict[str, float]:
    return {
        "memory (MiB)": ram // 2 // MIB,
        "pids": DEFAULT_PIDS,
        "CPUs": float("inf"),
        "tmpfs_size (MiB)": KernelOptions.tmpfs_size_mb,
        "pool": FREE_POOL,
        **DEFAULT_ULIMITS,
    }


def _others(plan: LaunchPlan) -> Iterator[tuple[str, str]]:
    file = plan.file
    for secret in file.secrets:
        yield "secret", f"{secret.name} ({secret.scheme}://{secret.reference})"
    for service in file.wanted_services:
        for secret in service.secrets:
            reference = f"{secret.scheme}://{secret.reference}"
            yield "secret of a service", f"{service.name}: {secret.name} ({reference})"
    for name in ("post_build_root", "post_build"):
        if script := getattr(file.hooks, name):
            yield "hook", f"{name} (in the image's build): {script}"
    for name in file.kernel.unprotect:
        yield "unprotect", name
    for port in file.network.host_ports:
        yield "port of this machine", str(port)
    for name, port in file.ports:
        yield "port", f"{name}: programs and browsers of this machine reach {port} inside"
    if (on := file.kernel.on) is not None:
        asked = "" if on.slurm is None else f" ({on.slurm})"
        words = f"{on}{asked}: a copy of the project goes there, and {on.python} there runs kernels"
        if on.grace > OtherMachine.grace:
            words += f", for {on.grace:g} s after the last sign of this machine"
        yield "another machine", words
    yield from _cluster(file, plan.runtime.capabilities.elsewhere)
    if file.kernel.gpus is not None:
        yield "GPUs", str(file.kernel.gpus)
    for server in file.container.dns if file.network.policy == "bridge" else ():
        yield "name server", server
    yield from _users(plan, file.wanted_services)


def _cluster(file: Config, where: str) -> Iterator[tuple[str, str]]:
    """By what a file says; what an option says is the user's own. Of what keeps a pod closer each
    value is another one, also none."""
    options = file.kernel.kubernetes
    if file.kernel.runtime != "kubernetes" and options is None:
        return
    options = options or ClusterOptions()
    yield "cluster", f"{where or options}: pods run there, with a copy of the project"
    yield "cluster", f"image: {file.base_image or 'one that is built'}"
    if options.network == "unenforced":
        yield "cluster's network", "pods may reach whatever the cluster lets them"
    if options.registry is not None:
        yield "registry", f"{options.registry}: images that are built are pushed there"
    asked = {
        "runs as": options.service_account or "the namespace's default account",
        "runtime class": options.runtime_class or "the cluster's own",
        "pull secrets": ", ".join(options.image_pull_secrets),
        "nodes": ", ".join("=".join(label) for label in options.node_selector) or "any",
        "taints": "; ".join(" ".join(map("=".join, each)) for each in options.tolerations),
        "resources": ", ".join("=".join(each) for each in options.resources),
        "storage class": options.storage_class,
    }
    if options.grace > ClusterOptions.grace:
        asked["for so many seconds after the last sign of this machine"] = f"{options.grace:g}"
    if options.storage_mb > ClusterOptions.storage_mb:
        asked["storage (MB)"] = str(options.storage_mb)
    for name, value in asked.items():
        if value:
            yield "cluster", f"{name}: {value}"


def _users(plan: LaunchPlan, services: Iterable[Service]) -> Iterator[tuple[str, str]]:
    """Whose rights are used that are neither the launcher's nor the project's owner's."""
    for service in services:
        if service.user is not None and service.user.uid != plan.host.user.uid:
            yield "service run as another user", f"{service.name} as {service.user}"
    user = kernel_user(plan.file, plan.host)
    own = kernel_user(replace(plan.file, mounts=()), plan.host)
    if user != own:
        yield "kernels run as", f"the owner of the workspace, {user}"


# ---------------------------------------------------------------- as JSON


def as_words(permissions: Permissions) -> dict[str, Any]:
    return {
        "mounts": [
            {"by": m.by, "source": m.source, "writable": m.writable, "excludes": m.excludes}
            for m in permissions.mounts
        ],
        "policy": permissions.policy,
        "rules": permissions.rules,
        "limits": [[name, str(value)] for name, value in permissions.limits],
        "require_limits": permissions.require_limits,
        "runtime": permissions.runtime,
        "isolation": permissions.isolation,
        "protect": permissions.protect,
        "others": permissions.others,
    }


def of_words(words: Any) -> Permissions:
    """The reverse of :func:`as_words`; KeyError, TypeError or ValueError for anything else."""
    if words["policy"] not in POLICIES:
        raise ValueError(words["policy"])
    return Permissions(
        mounts=tuple(
            Seen(
                by=str(m["by"]),
                source=str(m["source"]),
                writable=bool(m["writable"]),
                excludes=tuple(map(str, m["excludes"])),
            )
            for m in words["mounts"]
        ),
        policy=words["policy"],
        rules=tuple(map(str, words["rules"])),
        limits=tuple((str(name), float(value)) for name, value in words["limits"]),
        require_limits=bool(words.get("require_limits", False)),
        runtime=str(words["runtime"]),
        isolation=str(words["isolation"]),
        protect=tuple(map(str, words.get("protect", ()))),
        others=tuple((str(kind), str(which)) for kind, which in words["others"]),
    )
