"""Dependencies that a kernel starts without: refused only with ``kernel.require_dependencies``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from moat_nb.config.model import Config, Dependency
from moat_nb.errors import Problem

__all__ = ["NO_ENGINE", "Lack", "lack_of", "lack_of_hook", "told", "wanted"]


NO_ENGINE = (
    "a sandbox gets no engine, by which it could leave",
    "kernel.skip_dependencies takes it out of this notice",
)
"""Of ``docker:dind`` and the like, on every runtime: why, and the hint."""


@dataclass(frozen=True, kw_only=True)
class Lack(Problem):
    """A dependency that cannot be had. Found with a plan's problems, and told in their place."""

    name: str
    why: str


def lack_of(item: Dependency, why: str, hint: str) -> Lack:
    name = f"{item.name} ({item.bundle})" if item.bundle else item.name
    return Lack(
        where=item.where, what=f"{name}: {why}", hint=hint, supported=False, name=name, why=why
    )


def lack_of_hook(config: Config, name: str, why: str, hint: str) -> Lack:
    """What a hook would have installed."""
    key = f"hooks.{name}"
    what = f"{key}: {why}"
    return Lack(
        where=config.place("hooks"), what=what, hint=hint, supported=False, name=key, why=why
    )


def wanted(config: Config) -> tuple[Dependency, ...]:
    """The dependencies that a kernel is to have: none that is skipped, and no coding agent."""
    skipped = set(config.kernel.skip_dependencies)
    return tuple(
        item for item in config.dependencies if item.name not in skipped and item.kind != "agent"
    )


def told(lacks: Iterable[Lack]) -> tuple[str, ...]:
    """For `plan` and each start: those for one reason in one sentence."""
    names: dict[tuple[str, str], dict[str, None]] = {}
    for lack in lacks:
        names.setdefault((lack.why, lack.hint), {})[lack.name] = None
    return tuple(
        f"the kernel starts without {', '.join(found)}: {why}; {hint}"
        for (why, hint), found in names.items()
    )
