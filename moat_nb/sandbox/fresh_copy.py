"""A start's copy of the project, on this machine or on another, as the project is now."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from moat_nb.config.model import Config
from moat_nb.errors import MoatError
from moat_nb.planning.mounts import Bind
from moat_nb.sandbox.project import LaunchPlan
from moat_nb.sandbox.workspace_copy import WorkspaceCopy
from moat_nb.sandbox.workspace_elsewhere import WorkspaceElsewhere
from moat_nb.text.progress import Progress

__all__ = ["discard", "kept_while_it_starts", "with_fresh_copy"]


def with_fresh_copy(
    plan: LaunchPlan,
    planned: Callable[[Config], LaunchPlan],
    progress: Callable[[], Progress],
) -> LaunchPlan:
    """The plan of a start that works on a copy, once the copy is there and as the project is now;
    any other as it is. Raises MoatError."""
    copy = WorkspaceCopy.of(plan.config, plan.host, plan.runtime.capabilities.elsewhere)
    if copy is None:
        return plan
    elsewhere = WorkspaceElsewhere.of(copy, plan.runtime)
    shown = progress()
    try:
        words = copy.refresh(shown) if elsewhere is None else elsewhere.prepare(shown)
    finally:
        shown.close()
    again = planned(plan.file)
    mounted = (m.source for m in again.spec.mounts if isinstance(m, Bind) and m.copy_of)
    if elsewhere is None and str(copy.tree) not in mounted:
        raise MoatError(f"the copy of {copy.source} was removed meanwhile; start it again")
    return replace(again, spec=replace(again.spec, notices=(*again.spec.notices, *words)))


def discard(plan: LaunchPlan) -> None:
    """Remove the copy that a start of ``plan`` made, if it made one. Raises MoatError."""
    copy = WorkspaceCopy.of(plan.config, plan.host, plan.runtime.capabilities.elsewhere)
    if copy is not None:
        (WorkspaceElsewhere.of(copy, plan.runtime) or copy).discard()


def kept_while_it_starts(plan: LaunchPlan) -> AbstractContextManager[None]:
    """Nobody fills a copy elsewhere, or removes it, until the container has it. Raises
    MoatError."""
    where = plan.runtime.capabilities.elsewhere
    copy = WorkspaceCopy.of(plan.config, plan.host, where) if where else None
    return nullcontext() if copy is None else copy.locked("elsewhere")
