"""A plan that was made on another machine, as it is started on this one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from moat_nb.config.model import Config
from moat_nb.host.machine import Host, User
from moat_nb.planning.interpreter import search_path, with_interpreter
from moat_nb.planning.mounts import Bind, Mount, Volume, build
from moat_nb.planning.spec import ContainerSpec

__all__ = ["localised"]


def localised(
    spec: ContainerSpec,
    config: Config | None,
    host: Host,
    user: User,
    directory: Callable[[str], Path],
) -> ContainerSpec:
    """With this machine's interpreter and its programs, its user, and the directories that stand
    for volumes. Raises ConfigError."""

    def mount(given: Mount) -> Mount:
        if not isinstance(given, Volume):
            return given
        source = str(directory(given.name))
        return Bind(source=source, target=given.target, read_only=given.read_only)

    mounts = replace(spec.mounts, mounts=build(tuple(map(mount, spec.mounts))))
    place = "" if config is None else config.place("kernel.on")
    env = {"PATH": search_path(host), **dict(spec.env)}
    return replace(
        spec,
        runtime="bubblewrap",
        command=(host.executable, *spec.command[1:]),
        user=user,
        env=tuple(sorted(env.items())),
        mounts=with_interpreter(mounts, place, host),
    )
