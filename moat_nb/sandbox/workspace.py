"""What of the host a sandbox can write to: for the watch while it runs, and for what it changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from moat_nb.host.run_directory import SandboxState
from moat_nb.planning.mount_paths import hidden
from moat_nb.planning.mounts import Bind
from moat_nb.planning.walk import Budget
from moat_nb.sandbox.changes import Changes, changes
from moat_nb.sandbox.project import LaunchPlan
from moat_nb.sandbox.protected_watch import ProtectedWatch

__all__ = ["changes_of", "watch_of", "workspace_of", "writable"]


def workspace_of(plan: LaunchPlan, since: float) -> dict[str, Any]:
    """The fields of a :class:`SandboxState` by which :func:`changes_of` finds what changed."""
    return {
        "since": since,
        "writable": writable(plan),
        "unseen": hidden(plan.spec.mounts),
        "protect": plan.config.kernel.protect,
        "held": _held(plan),
        "copy": next((m.source for m in plan.spec.mounts if isinstance(m, Bind) and m.copy_of), ""),
    }


def _held(plan: LaunchPlan) -> tuple[str, ...]:
    return tuple(
        {
            mount.source: None
            for spec in (plan.spec, *plan.sidecar_specs)
            for mount in spec.mounts
            if isinstance(mount, Bind) and mount.role in ("pin", "protected")
        }
    )


def writable(plan: LaunchPlan) -> tuple[str, ...]:
    """The directories, none below another."""
    specs = (plan.spec, *plan.sidecar_specs)
    found = {
        mount.source: None
        for spec in specs
        for mount in spec.mounts
        if isinstance(mount, Bind)
        and mount.role == "project"
        and not mount.read_only
        and not mount.copy_of
        and mount.source not in spec.mounts.keep
        and Path(mount.source).is_dir()
    }
    return tuple(
        path for path in found if not any(str(above) in found for above in Path(path).parents)
    )


def watch_of(plan: LaunchPlan, tell: Callable[[str, str], None]) -> ProtectedWatch:
    """Over what is protected in all of its containers; not started yet."""
    specs = (plan.spec, *plan.sidecar_specs)
    directories = dict.fromkeys(path for spec in specs for path in spec.mounts.watched)
    protected = dict.fromkeys(path for spec in specs for path in spec.mounts.protected)
    allowed = plan.config.kernel.unprotect
    return ProtectedWatch(writable(plan), tuple(directories), tuple(protected), tell, allowed)


def changes_of(state: SandboxState, budget: Budget | None = None) -> Changes:
    """What changed since the start of the sandbox that has this state."""
    return changes(
        state.writable,
        state.since,
        names=state.protect,
        apart=state.unseen,
        made={(made.device, made.inode) for made in state.made},
        held=state.held,
        budget=budget,
    )
