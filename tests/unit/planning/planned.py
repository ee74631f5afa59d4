"""A config's kernel as a runtime would start it."""

from __future__ import annotations

from moat_nb.config.model import Config
from moat_nb.errors import refusal_of
from moat_nb.host.machine import Host
from moat_nb.planning.kernel import plan_kernel
from moat_nb.planning.spec import ContainerSpec
from moat_nb.runtimes.base import Runtime
from moat_nb.runtimes.docker.engine import EngineFacts
from moat_nb.runtimes.docker.runtime import Docker


def docker(config: Config, host: Host) -> ContainerSpec:
    return planned(config, Docker("docker", {}, EngineFacts()), host)


def planned(config: Config, runtime: Runtime, host: Host) -> ContainerSpec:
    plan = plan_kernel(config, host, runtime.capabilities)
    if plan.problems:
        raise refusal_of(plan.problems)
    return plan.spec
