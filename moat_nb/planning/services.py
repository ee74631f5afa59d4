"""From a Config to the plans of its sidecars: pure values, by the same builders as the kernel's.

A sidecar shares the sandbox's network namespace, so it is at 127.0.0.1 for the kernel, and two
of them cannot listen at one port.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

from moat_nb.config.model import Config, Exclude, MountEntry, Service, VolumeEntry
from moat_nb.config.readiness import Ready
from moat_nb.errors import ConfigError, StartError, collected
from moat_nb.host.machine import Host
from moat_nb.planning.builtin_services import (
    MODELS,
    NO_SECRETS,
    ResolvedService,
    ServiceInputs,
    resolve,
)
from moat_nb.planning.elsewhere import on_volumes
from moat_nb.planning.layout import exclude_size, lay_out
from moat_nb.planning.limits import MIB, Hardening, Limits, share
from moat_nb.planning.mount_paths import hidden, hidden_files
from moat_nb.planning.mounts import Bind, Mount, MountPlan, Tmpfs, Volume, is_below
from moat_nb.planning.network import way_out_variables
from moat_nb.planning.service_checks import service_problems
from moat_nb.planning.spec import SERVICE_LABEL, ContainerSpec

__all__ = ["BEGIN", "END", "END_OF_MOUNTS", "ENTRYPOINT", "SidecarPlan", "plan_services"]

ENTRYPOINT = "<the image's entrypoint>"
"""Stands in a plan's command for words that only the image says, once it is there."""

WRAPPER = """\
IFS= read -r _moat_line || exit 0
while IFS= read -r _moat_line; do printf '%s\\n' "$_moat_line"; done </proc/self/mountinfo
echo "$1"; shift
_moat_signal=$1; shift
_moat_input= _moat_script= _moat_count=
IFS= read -r _moat_count || exit 0
while [ "$_moat_count" -gt 0 ]; do
  IFS= read -r _moat_line || exit 0
  _moat_script="$_moat_script$_moat_line
"
  _moat_count=$((_moat_count - 1))
done
eval "$_moat_script"
exec 3<&0
printf '%s' "$_moat_input" | "$@" 2>&1 3<&- &
_moat_child=$!
{
  while read -r _moat_line && [ "$_moat_line" != end ]; do :; done
  kill -"$_moat_signal" "$_moat_child"; sleep 5; kill -KILL "$_moat_child"
} <&3 >/dev/null 2>&1 &
unset _moat_input _moat_script
wait "$_moat_child"
"""
"""The attach stream of a container that has no guest: it ends its program when stdin does.

It shows its mounts when it hears a line, before anything of the image runs; then it reads, in a
number of lines that the first line says, assignments for the entrypoint's environment, so that no
secret stands in a command line or in the engine's own record. A line ``end`` is as the end of
stdin, which not every way to attach can tell. Its arguments: the line that ends the mounts, the
signal that stops the program, and the program. POSIX sh, and of programs only ``sleep``. Its
variables have a prefix, as any other name may be one of the service's or the image's own.
"""

BEGIN, END = b"\n", b"end\n"
"""What the wrapper hears first, and last."""

END_OF_MOUNTS = "moat: these are the mounts"

KEPT_MODELS = VolumeEntry(name="ollama-models", target=MODELS)
"""Where models are kept that are pulled, unless the file says where."""


@dataclass(frozen=True, kw_only=True)
class SidecarPlan:
    spec: ContainerSpec
    """Its command is whole but for :data:`ENTRYPOINT`."""
    service: ResolvedService
    data_size: int
    """Bytes of each tmpfs for what it writes."""

    def inputs(self, password: str, secrets: Mapping[str, str] = NO_SECRETS) -> ServiceInputs:
        """What one start gives it; ``secrets`` are its own, by variable."""
        way_out = way_out_variables(self.spec.egress, self.spec.trust)
        return self.service.inputs(password, way_out, secrets)

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def where(self) -> str:
        return self.service.where

    @property
    def ports(self) -> tuple[int, ...]:
        return self.service.ports

    @property
    def ready(self) -> Ready | None:
        return self.service.ready

    @property
    def wait(self) -> bool:
        """Whether the kernels start only when it is ready."""
        return self.service.entry.wait

    @property
    def models(self) -> tuple[str, ...]:
        """Those that it pulls before it counts as ready."""
        return self.service.entry.models

    def on(
        self,
        entrypoint: tuple[str, ...],
        command: tuple[str, ...],
        stop_signal: str,
        volumes: tuple[str, ...],
    ) -> ContainerSpec:
        """The spec with what the image says of itself: its words, and its volumes as tmpfs.

        An engine would put those on the host's disk, without a limit.
        """
        words = (*entrypoint, *(self.service.command or command))
        taken = {mount.target for mount in self.spec.mounts}
        free = [volume for volume in volumes if volume not in taken]
        for volume in free:
            self._refuse_below_kept(volume)
        added = (Tmpfs(target=volume, size=self.data_size, role="data") for volume in free)
        return replace(
            self.spec,
            command=_wrapped(words, stop_signal),
            mounts=self.spec.mounts.with_mounts(*added),
        )

    def _refuse_below_kept(self, volume: str) -> None:
        """What is written to ``volume`` would be lost, though a mount above it says otherwise."""
        for mount in self.spec.mounts:
            if isinstance(mount, (Bind, Volume)) and is_below(volume, mount.target):
                raise StartError(
                    f"{self.where}: {self.name}: {self.spec.image} keeps its data in {volume}, "
                    f"below the mount at {mount.target}; mount at {volume} itself"
                )


def _wrapped(words: tuple[str, ...], stop_signal: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", WRAPPER, "moat", END_OF_MOUNTS, stop_signal, *words)


def plan_services(config: Config, kernel: ContainerSpec, host: Host) -> tuple[SidecarPlan, ...]:
    """The sidecars of the sandbox that ``kernel`` is the spec of, in the file's order.

    Raises ConfigError.
    """
    services = tuple(map(resolve, config.wanted_services))
    problems = [*service_problems(services, config, kernel, host)]
    plans = []
    for service in services:
        with collected(problems):
            plans.append(_plan(service, config, kernel, host))
    if problems:
        raise ConfigError(problems)
    return tuple(plans)


def _mounts_of(service: Service, kernel: MountPlan) -> tuple[MountEntry, ...]:
    """The service's mounts, with all that the kernel's excludes hide below them excluded too."""
    mounts = []
    covers, files = hidden(kernel), hidden_files(kernel)
    for mount in service.mounts:
        source = os.path.realpath(mount.source)
        below = (
            Exclude(
                pattern=os.path.relpath(cover, source),
                where=mount.where,
                kind="file" if cover in files else "directory",
            )
            for cover in covers
            if is_below(cover, source)
        )
        mounts.append(replace(mount, exclude=_with_all(mount.exclude, below)))
    return tuple(mounts)


def _with_all(excludes: tuple[Exclude, ...], more: Iterable[Exclude]) -> tuple[Exclude, ...]:
    """``excludes`` and those of ``more`` that lie below none of them."""
    kept = {exclude.pattern: exclude for exclude in excludes}
    for exclude in more:
        above = accumulate(exclude.pattern.split("/"), lambda path, name: f"{path}/{name}")
        if not any(path in kept for path in above):
            kept[exclude.pattern] = exclude
    return tuple(kept.values())


def _volumes_of(service: Service) -> tuple[VolumeEntry, ...]:
    given: list[MountEntry | VolumeEntry] = [*service.mounts, *service.volumes]
    keeps = service.models and all(entry.target != MODELS for entry in given)
    return (*service.volumes, KEPT_MODELS) if keeps else service.volumes


def _plan(
    service: ResolvedService, config: Config, kernel: ContainerSpec, host: Host
) -> SidecarPlan:
    entry, limits = service.entry, kernel.limits
    if entry.memory_mb is not None:
        memory = entry.memory_mb * MIB
        limits = replace(limits, memory=memory, shm=share(config.kernel.shm_size_mb, memory))
    mounts = lay_out(
        _mounts_of(entry, kernel.mounts),
        _volumes_of(entry),
        config=config,
        limits=limits,
        host=host,
    )
    if kernel.elsewhere:
        # A service has volumes of its own, and never the copy.
        mounts = on_volumes(mounts, config, config.directory)
    spec = ContainerSpec(
        name=f"{config.name}-{service.name}",
        role="sidecar",
        project=kernel.project,
        runtime=kernel.runtime,
        image=service.image,
        command=_wrapped((ENTRYPOINT, *service.command), "TERM"),
        user=service.user or kernel.user,
        keep_user=service.user is not None,
        env=(),
        workdir="",
        mounts=mounts.with_mounts(*_data(service, mounts.mounts, config, limits)),
        limits=limits,
        elsewhere=kernel.elsewhere,
        hardening=Hardening(isolation=kernel.hardening.isolation),
        network="sandbox",
        egress=kernel.egress if entry.models else None,
        trust=kernel.trust if entry.models else (),
        labels=((SERVICE_LABEL, service.name),),
    )
    return SidecarPlan(
        spec=spec,
        service=service,
        data_size=exclude_size(config, limits),
    )


def _data(
    service: ResolvedService, mounts: tuple[Mount, ...], config: Config, limits: Limits
) -> Iterator[Tmpfs]:
    taken = {mount.target for mount in mounts}
    size = exclude_size(config, limits)
    for target in service.data:
        if target not in taken:
            yield Tmpfs(target=target, size=size, role="data")
