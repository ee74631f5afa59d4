"""From a project to all that one start of it is made of: the one composition.

Whoever starts a project, shows it, builds for it or offers it asks here, so that all of them refuse
the same, in the same words.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from moat_nb.config.model import Config
from moat_nb.config.overrides import override
from moat_nb.config.reader import load_with_problems
from moat_nb.errors import Problem, RuntimeUnavailable, collected, refusal_of
from moat_nb.host.machine import Host
from moat_nb.planning.elsewhere import elsewhere_problems, refused_elsewhere
from moat_nb.planning.image import ImagePlan
from moat_nb.planning.kernel import plan_kernel, unwritable
from moat_nb.planning.lacks import Lack, told
from moat_nb.planning.notebook_directory import directory_notices, in_directory
from moat_nb.planning.requirements import with_requirements
from moat_nb.planning.services import SidecarPlan, plan_services
from moat_nb.planning.spec import ContainerSpec
from moat_nb.planning.workspace_copy import with_copy
from moat_nb.runtimes.base import Runtime
from moat_nb.runtimes.registry import choose

__all__ = ["LaunchPlan", "plan", "plan_project"]


@dataclass(frozen=True, kw_only=True)
class LaunchPlan:
    """What a moat.yaml says, as it is to be started here. No secret is fetched yet."""

    config: Config
    file: Config
    """The same as the file has it, without the changes for this start."""
    runtime: Runtime
    why: str
    """The choice of the runtime, as ``runtime: NAME (reason)``."""
    spec: ContainerSpec
    """The kernels' container."""
    image: ImagePlan | None
    """None on a runtime without images."""
    sidecars: tuple[SidecarPlan, ...] = ()
    without: tuple[str, ...] = ()
    """What the kernel is started without, in sentences, as the right to write to the workspace; the
    notices have them too."""
    host: Host
    environ: Mapping[str, str] = field(repr=False)
    """The launcher's; it may hold secrets, so no repr has it."""

    @property
    def sidecar_specs(self) -> tuple[ContainerSpec, ...]:
        return tuple(sidecar.spec for sidecar in self.sidecars)


def plan(
    config: Config,
    runtime: str | None = None,
    *,
    host: Host | None = None,
    environ: Mapping[str, str] | None = None,
) -> LaunchPlan:
    """What would run, as a value; nothing is started and nothing on the host is changed.

    ``runtime`` is a name of :data:`RUNTIMES`; None chooses as :func:`choose` does. Raises
    ConfigError with all that a start would refuse, and RuntimeUnavailable.
    """
    return plan_project(config, runtime, host=host, environ=environ)


def plan_project(
    project: Config | Path | str,
    runtime: str | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    host: Host | None = None,
    environ: Mapping[str, str] | None = None,
    kernels: bool = True,
    directory: Path | None = None,
    ask: bool = False,
) -> LaunchPlan:
    """As :func:`plan`, of a Config or of the nearest moat.yaml at or above a path.

    ``overrides`` are :func:`~moat_nb.config.overrides.override`'s. ``kernels=False``: for commands
    alone, so nothing is imported ahead of kernels to come. ``directory``: where a kernel is
    started, for ``kernel.workspace: notebook``; None where nothing is started yet.
    ``ask``: another machine that the file names may be asked, as the user has approved it.
    """
    host = host or Host.current()
    environ = os.environ if environ is None else environ
    file, wrong = _file(project, host)
    config, problems = file, [*wrong]
    with collected(problems):
        config = override(file, home=host.home, **(overrides or {}))
    chosen, why = _choose(runtime, config, host, environ, problems, ask)
    elsewhere = chosen.capabilities.elsewhere
    problems += refused_elsewhere(config, elsewhere)
    with collected(problems):
        asked = (overrides or {}).get("workspace") == "notebook"
        config = in_directory(config, directory, anywhere=asked)
        config = with_copy(with_requirements(config), host, elsewhere)
    kernel = plan_kernel(config, host, chosen.capabilities, kernels=kernels)
    problems += [*kernel.problems, *chosen.check(kernel.spec, config)]
    sidecars: tuple[SidecarPlan, ...] = ()
    if chosen.capabilities.sidecars:
        with collected(problems):
            sidecars = plan_services(config, kernel.spec, host)
    specs = (kernel.spec, *(sidecar.spec for sidecar in sidecars))
    problems += elsewhere_problems(config, elsewhere, specs)
    lacks = _lacks(config, problems)
    beside = (notice for sidecar in sidecars for notice in sidecar.spec.mounts.notices)
    without = (*told(lacks), *unwritable(config, host))
    own = chosen.notices(kernel.spec, kernel.image)
    where = directory_notices(config, directory)
    words = (why, *without, *kernel.spec.notices, *where, *beside, *own)
    notices = tuple(dict.fromkeys(words))
    return LaunchPlan(
        config=config,
        file=file,
        runtime=chosen,
        why=why,
        spec=replace(kernel.spec, notices=notices),
        image=kernel.image,
        sidecars=sidecars,
        without=without,
        host=host,
        environ=environ,
    )


def _lacks(config: Config, problems: Sequence[Problem]) -> list[Lack]:
    """Those that a start does without. Raises all that is refused."""
    strict = config.kernel.require_dependencies
    if refused := [one for one in problems if strict or not isinstance(one, Lack)]:
        raise refusal_of(refused)
    return [one for one in problems if isinstance(one, Lack)]


def _file(project: Config | Path | str, host: Host) -> tuple[Config, tuple[Problem, ...]]:
    if isinstance(project, Config):
        return project, ()
    return load_with_problems(project, home=host.home)


def _choose(
    wish: str | None,
    config: Config,
    host: Host,
    environ: Mapping[str, str],
    problems: Sequence[Problem],
    ask: bool,
) -> tuple[Runtime, str]:
    """Raises ``problems`` where the choice would be another without them."""
    if any(problem.what.startswith(("runtime:", "kernel.runtime:")) for problem in problems):
        raise refusal_of(problems)
    try:
        return choose(wish, config, host, environ, ask=ask)
    except RuntimeUnavailable:
        if problems:
            raise refusal_of(problems) from None
        raise
