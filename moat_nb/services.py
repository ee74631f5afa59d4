"""From a Config to the plans of its sidecars: pure values, by the same builders as the kernel's.

A sidecar shares the sandbox's network namespace, so it is at 127.0.0.1 for the kernel, and two
of them cannot listen at one port.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from moat_nb.config import Config, Exclude, MountEntry, Service, VolumeEntry
from moat_nb.egress.settings import doors
from moat_nb.errors import ConfigError, Problem, StartError
from moat_nb.host import Host, User
from moat_nb.mounts import Bind, Mount, Tmpfs, Volume, is_below
from moat_nb.paths import hidden
from moat_nb.planning import make_mounts
from moat_nb.readiness import Port, Ready
from moat_nb.recipes import RECIPES, Handover, Recipe, generic
from moat_nb.security import MIB, Hardening, Limits
from moat_nb.spec import ContainerSpec

__all__ = ["END_OF_MOUNTS", "ENTRYPOINT", "SidecarPlan", "plan_services"]

ENTRYPOINT = "<the image's entrypoint>"
"""Stands in a plan's command for words that only the image says, once it is there."""

WRAPPER = """\
while IFS= read -r line; do printf '%s\\n' "$line"; done </proc/self/mountinfo
echo "$1"; shift
signal=$1; shift
input= script= count=
IFS= read -r count || exit 0
while [ "$count" -gt 0 ]; do
  IFS= read -r line || exit 0
  script="$script$line
"
  count=$((count - 1))
done
eval "$script"
exec 3<&0
printf '%s' "$input" | "$@" 2>&1 3<&- &
child=$!
(while read -r line; do :; done; kill -"$signal" "$child"; sleep 5; kill -KILL "$child") <&3 &
unset input script
wait "$child"
"""
"""The leash of a container that has no guest: it ends its program when stdin does.

It shows its mounts before anything of the image runs; then it reads, in a number of lines that the
first line says, assignments for the entrypoint's environment, so that no secret stands in a command
line or in the engine's own record. Its arguments: the line that ends the mounts, the signal that
stops the program, and the program. POSIX sh, and of programs only ``sleep``.
"""

END_OF_MOUNTS = "moat: these are the mounts"


@dataclass(frozen=True, kw_only=True)
class SidecarPlan:
    name: str
    spec: ContainerSpec
    """Its command is whole but for :data:`ENTRYPOINT`."""
    ready: Ready | None
    """None: it counts as ready once it is started."""
    wait: bool
    """Whether the kernels start only when it is ready."""
    service: Service = field(repr=False)
    data_size: int
    """Bytes of each tmpfs for what it writes."""
    where: str

    def hand_over(self, password: str) -> Handover:
        recipe = RECIPES.get(self.name)
        if recipe is None:
            return generic(self.service)
        return recipe.hand_over(dict(self.service.env), password)

    @property
    def ports(self) -> tuple[int, ...]:
        return _ports(self.service)

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
        words = (*entrypoint, *(_command(self.service) or command))
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
    problems = [
        *_clashes(config),
        *_taken_ports(config, kernel),
        *_hidden_sources(config, hidden(kernel.mounts)),
        *_kept_without_password(config),
        *_volumes_of_others(config, kernel, host),
        *_models(config),
    ]
    if problems:
        raise ConfigError(problems)
    return tuple(_plan(service, config, kernel, host) for service in config.wanted_services)


def _clashes(config: Config) -> Iterator[Problem]:
    first: dict[int, Service] = {}
    for service in config.wanted_services:
        for port in _ports(service):
            before = first.setdefault(port, service)
            if before is not service:
                what = f"{service.name} listens at port {port}, as {before.name} ({before.where})"
                mend = "they share 127.0.0.1: give one of them another port"
                yield Problem(where=service.where, what=what, mend=mend)


def _taken_ports(config: Config, kernel: ContainerSpec) -> Iterator[Problem]:
    taken = {port: target or "the proxy" for port, _, target in doors(kernel.egress)}
    for service in config.wanted_services:
        for port in (port for port in _ports(service) if port in taken):
            what = f"{service.name} listens at port {port}, which leads to {taken[port]}"
            mend = "give it another port, or take that one out of network.host"
            yield Problem(where=service.where, what=what, mend=mend)


def _hidden_sources(config: Config, covers: tuple[str, ...]) -> Iterator[Problem]:
    """Mounts of what the kernel may not see: no cover could be laid over the whole of one."""
    for service in config.wanted_services:
        for mount in service.mounts:
            source = os.path.realpath(mount.source)
            if over := next((c for c in covers if source == c or is_below(source, c)), None):
                what = f"{service.name} mounts {mount.source}, and {over} is excluded"
                mend = "what the kernel may not see no sidecar may; take one of the two out"
                yield Problem(where=mount.where, what=what, mend=mend)


def _kept_without_password(config: Config) -> Iterator[Problem]:
    """Databases that outlive a start, with a password that does not."""
    for service in config.wanted_services:
        recipe = RECIPES.get(service.name)
        if recipe is None or not (new := _new_passwords(recipe, dict(service.env))):
            continue
        entries: list[MountEntry | VolumeEntry] = [*service.mounts, *service.volumes]
        for entry in entries:
            kept = any(entry.target == data or _related(entry.target, data) for data in recipe.data)
            if kept and not entry.read_only:
                what = (
                    f"{service.name} keeps its data there, and a start's new password is not in it"
                )
                mend = f"give yours in services.{service.name}.env: {', '.join(new)}"
                yield Problem(where=entry.where, what=what, mend=mend)


def _new_passwords(recipe: Recipe, env: dict[str, str]) -> list[str]:
    """The variables of the entrypoint that are another at each start."""
    one, other = (recipe.hand_over(env, password).env for password in "ab")
    return [name for name in one if one[name] != other[name]]


def _models(config: Config) -> Iterator[Problem]:
    for service in config.wanted_services:
        if service.models:
            what = f"{service.name}: models are not supported yet, as nothing is fetched at a start"
            mend = "mount those you have: kernel.services.ollama.mounts: [DIRECTORY:/models:ro]"
            yield Problem(where=service.where, what=what, mend=mend)


def _related(one: str, other: str) -> bool:
    return is_below(one, other) or is_below(other, one)


def _volumes_of_others(config: Config, kernel: ContainerSpec, host: Host) -> Iterator[Problem]:
    """Directories of this host that a service could not write to, as only root may give them."""
    for service in config.wanted_services:
        user, _ = _user(service, kernel)
        for volume in service.volumes if host.user.uid not in (0, user.uid) else ():
            if volume.type == "bind":
                what = f"{service.name} runs as {user}, and cannot write to a directory of yours"
                yield Problem(where=volume.where, what=what, mend="say type: volume")


def _mounts_of(service: Service, covers: tuple[str, ...]) -> tuple[MountEntry, ...]:
    """The service's mounts, with all that the kernel's excludes hide below them excluded too."""
    mounts = []
    for mount in service.mounts:
        source = os.path.realpath(mount.source)
        below = (os.path.relpath(cover, source) for cover in covers if is_below(cover, source))
        mounts.append(replace(mount, exclude=_with_all(mount.exclude, below, mount.where)))
    return tuple(mounts)


def _with_all(
    excludes: tuple[Exclude, ...], paths: Iterable[str], where: str
) -> tuple[Exclude, ...]:
    """``excludes`` and those of ``paths`` that lie below none of them."""
    kept = list(excludes)
    for path in paths:
        names = {exclude.pattern for exclude in kept}
        if not any(path == name or path.startswith(f"{name}/") for name in names):
            kept.append(Exclude(pattern=path, where=where))
    return tuple(kept)


def _ports(service: Service) -> tuple[int, ...]:
    recipe = RECIPES.get(service.name)
    return service.ports if recipe is None else (recipe.port, *service.ports)


def _plan(service: Service, config: Config, kernel: ContainerSpec, host: Host) -> SidecarPlan:
    recipe = RECIPES.get(service.name)
    ready = service.ready
    if ready is None and recipe is not None:
        ready = recipe.ready(dict(service.env))
    elif ready is None and service.ports:
        ready = Port(port=service.ports[0])
    memory = service.memory_mb
    limits = Limits(
        memory=memory * MIB if memory is not None else kernel.limits.memory,
        pids=kernel.limits.pids,
        cpus=kernel.limits.cpus,
    )
    user, known = _user(service, kernel)
    mounts_of = _mounts_of(service, hidden(kernel.mounts))
    own = replace(config, mounts=mounts_of, volumes=service.volumes)
    mounts = make_mounts(own, host, limits)
    spec = ContainerSpec(
        name=f"{config.name}-{service.name}",
        role="sidecar",
        project=kernel.project,
        runtime=kernel.runtime,
        image=_image(service),
        command=_wrapped((ENTRYPOINT, *_command(service)), "TERM"),
        user=user,
        keep_user=known,
        env=(),
        workdir="",
        mounts=mounts.with_mounts(*_data(service, mounts.mounts, config, limits)),
        limits=limits,
        hardening=Hardening(isolation=kernel.hardening.isolation),
        labels=(("moat.nb.service", service.name),),
    )
    return SidecarPlan(
        name=service.name,
        spec=spec,
        ready=ready,
        wait=service.wait,
        service=service,
        data_size=_data_size(config, limits),
        where=service.where,
    )


def _image(service: Service) -> str:
    if service.image is not None:
        return service.image
    recipe = RECIPES[service.name]
    return f"{recipe.image}:{service.version or recipe.version}"


def _command(service: Service) -> tuple[str, ...]:
    recipe = RECIPES.get(service.name)
    return service.command or (recipe.command if recipe else ())


def _user(service: Service, kernel: ContainerSpec) -> tuple[User, bool]:
    """Who it runs as, and whether that is one of the image's own."""
    if service.user is not None:
        return service.user, True
    recipe = RECIPES.get(service.name)
    return (recipe.user, True) if recipe else (kernel.user, False)


def _data(
    service: Service, mounts: tuple[Mount, ...], config: Config, limits: Limits
) -> Iterator[Tmpfs]:
    recipe = RECIPES.get(service.name)
    taken = {mount.target for mount in mounts}
    size = _data_size(config, limits)
    for target in recipe.data if recipe else ():
        if target not in taken:
            yield Tmpfs(target=target, size=size, role="data")


def _data_size(config: Config, limits: Limits) -> int:
    """Bytes: as much as an exclude may hold."""
    return min(config.kernel.tmpfs_size_mb * MIB, limits.memory // 2)
