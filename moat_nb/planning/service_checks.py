"""What is refused of services before anything starts, each with its place in the file."""

from __future__ import annotations

import os
from collections.abc import Iterator

from moat_nb.config.model import Config, MountEntry, VolumeEntry
from moat_nb.errors import Problem
from moat_nb.host.machine import Host
from moat_nb.planning.builtin_services import MODELS, REGISTRY, ResolvedService
from moat_nb.planning.mount_paths import hidden
from moat_nb.planning.mounts import is_below, is_within
from moat_nb.planning.network import port_forwards
from moat_nb.planning.spec import ContainerSpec

__all__ = ["service_problems"]


Services = tuple[ResolvedService, ...]


def service_problems(
    services: Services, config: Config, kernel: ContainerSpec, host: Host
) -> tuple[Problem, ...]:
    """Of the services beside ``kernel``, as ``host`` would start them."""
    return (
        *_isolated(services, config),
        *_clashes(services),
        *_taken_ports(services, kernel),
        *_hidden_sources(services, hidden(kernel.mounts)),
        *_kept_without_password(services),
        *_volumes_of_others(services, kernel, host),
        *_models(services, kernel),
    )


def _isolated(services: Services, config: Config) -> Iterator[Problem]:
    for service in services if config.kernel.isolation == "gvisor" else ():
        what = (
            f"{service.name} could not be reached: under gVisor each container has its own loopback"
        )
        yield Problem(where=service.where, what=what, hint="take kernel.isolation out")


def _clashes(services: Services) -> Iterator[Problem]:
    first: dict[int, ResolvedService] = {}
    for service in services:
        for port in service.ports:
            before = first.setdefault(port, service)
            if before is not service:
                what = f"{service.name} listens at port {port}, as {before.name} ({before.where})"
                hint = "they share 127.0.0.1: give one of them another port"
                yield Problem(where=service.where, what=what, hint=hint)


def _taken_ports(services: Services, kernel: ContainerSpec) -> Iterator[Problem]:
    taken = {port: target or "the proxy" for port, _, target in port_forwards(kernel.egress)}
    for service in services:
        for port in (port for port in service.ports if port in taken):
            what = f"{service.name} listens at port {port}, which leads to {taken[port]}"
            hint = "give it another port, or take that one out of network.host"
            yield Problem(where=service.where, what=what, hint=hint)


def _hidden_sources(services: Services, covers: tuple[str, ...]) -> Iterator[Problem]:
    """Mounts of what the kernel may not see: no cover could be laid over the whole of one."""
    for service in services:
        for mount in service.entry.mounts:
            source = os.path.realpath(mount.source)
            if over := next((c for c in covers if is_within(source, c)), None):
                what = f"{service.name} mounts {mount.source}, and {over} is excluded"
                hint = "what the kernel may not see no sidecar may; take one of the two out"
                yield Problem(where=mount.where, what=what, hint=hint)


def _kept_without_password(services: Services) -> Iterator[Problem]:
    """Databases that outlive a start, with a password that does not."""
    for service in services:
        if not (new := service.new_passwords()):
            continue
        entries: list[MountEntry | VolumeEntry] = [*service.entry.mounts, *service.entry.volumes]
        for entry in entries:
            kept = any(
                entry.target == data or _related(entry.target, data) for data in service.data
            )
            if kept and not entry.read_only:
                what = (
                    f"{service.name} keeps its data there, and a start's new password is not in it"
                )
                hint = f"give yours in services.{service.name}.env: {', '.join(new)}"
                yield Problem(where=entry.where, what=what, hint=hint)


def _volumes_of_others(services: Services, kernel: ContainerSpec, host: Host) -> Iterator[Problem]:
    """Directories of this host that a service could not write to, as only root may give them."""
    for service in services:
        user = service.user or kernel.user
        for volume in service.entry.volumes if host.user.uid not in (0, user.uid) else ():
            if volume.type == "bind":
                what = f"{service.name} runs as {user}, and cannot write to a directory of yours"
                yield Problem(where=volume.where, what=what, hint="say type: volume")


def _models(services: Services, kernel: ContainerSpec) -> Iterator[Problem]:
    """Models that could not be pulled, or not before kernels start."""
    reaches = kernel.egress is not None and kernel.egress.policy != "none"
    for service in services:
        if service.entry.models and not reaches and kernel.network != "bridge":
            what = f"{service.name}: models are pulled at the start, and network.policy is none"
            hint = (
                f"say strict, with {REGISTRY} in network.rules, or take models out and mount "
                f"those you have: kernel.services.{service.name}.mounts: [DIRECTORY:{MODELS}:ro]"
            )
            yield Problem(where=service.where, what=what, hint=hint)
        if service.entry.models and not service.entry.wait:
            what = f"{service.name}: models are waited for, and wait is false"
            yield Problem(where=service.where, what=what, hint="take one of the two out")
        if service.entry.models and service.entry.user is not None:
            what = f"{service.name}: only the kernel's user can pull models"
            hint = f"take user out of kernel.services.{service.name}"
            yield Problem(where=service.where, what=what, hint=hint)


def _related(one: str, other: str) -> bool:
    return is_below(one, other) or is_below(other, one)
