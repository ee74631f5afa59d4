"""From a project to what is started: the one composition."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from moat_nb.config.model import Config
from moat_nb.host.machine import Host
from moat_nb.planning.kernel import make_spec
from moat_nb.planning.services import SidecarPlan
from moat_nb.planning.spec import ContainerSpec
from moat_nb.runtimes.base import Runtime
from moat_nb.runtimes.registry import choose

__all__ = ["Plan", "plan"]


def plan(
    config: Config,
    runtime: str | None = None,
    *,
    host: Host | None = None,
    environ: Mapping[str, str] | None = None,
) -> ContainerSpec:
    """What would run, as a value; nothing is started and nothing on the host is changed.

    ``runtime`` is a name of :data:`RUNTIMES`; None chooses as :func:`choose` does. Raises
    ConfigError with all that the filesystem says against the file, and RuntimeUnavailable.
    """
    host = host or Host.current()
    environ = os.environ if environ is None else environ
    chosen, why = choose(runtime, config, host, environ)
    return make_spec(config, chosen, host, why)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a moat.yaml says, as it is to be started here."""

    config: Config
    runtime: Runtime
    spec: ContainerSpec
    secrets: Mapping[str, str] = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    sidecars: tuple[SidecarPlan, ...] = ()

    @property
    def sidecar_specs(self) -> tuple[ContainerSpec, ...]:
        return tuple(sidecar.spec for sidecar in self.sidecars)

    @property
    def forks_kernels(self) -> bool:
        """Whether kernels are forked from the guest, so that one can be made ahead of need."""
        return not self.config.kernel.argv
