"""Sandboxes as other processes of the same user see them: which there are, and in what state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moat_nb.config.file import outdated
from moat_nb.errors import MoatError
from moat_nb.host.run_directory import RunDir, SandboxState, sandbox_states
from moat_nb.runtimes.stop import is_running

__all__ = ["Listed", "find", "sandboxes"]


State = Literal["starting", "running", "spare", "ended", "stale"]
"""``spare``: it waits for a start to come (``kernel.pool``); ``ended``: its launcher still holds on
to it; ``stale``: its launcher is dead."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    run_dir: RunDir
    sandbox_state: SandboxState | None
    state: State
    outdated: bool = False
    """Its moat.yaml has another text than at its start."""

    @property
    def title(self) -> str:
        return (
            f"{self.run_dir.id} ({self.sandbox_state.name})"
            if self.sandbox_state
            else self.run_dir.id
        )


def sandboxes(base: Path, environ: Mapping[str, str]) -> tuple[Listed, ...]:
    """Those below ``base``, oldest first; ``environ`` names the engine, as for a start."""
    found = [
        Listed(
            run_dir=run_dir,
            sandbox_state=sandbox_state,
            state=_state(run_dir, sandbox_state, environ),
            outdated=sandbox_state is not None and _outdated(sandbox_state),
        )
        for run_dir, sandbox_state in sandbox_states(base)
    ]
    return tuple(
        sorted(
            found, key=lambda one: one.sandbox_state.started if one.sandbox_state else float("inf")
        )
    )


def _outdated(sandbox_state: SandboxState) -> bool:
    file = sandbox_state.file
    return bool(file) and outdated(Path(file), sandbox_state.digest) is not None


def _state(
    run_dir: RunDir, sandbox_state: SandboxState | None, environ: Mapping[str, str]
) -> State:
    if sandbox_state is None:
        return "starting"
    if not sandbox_state.owner.alive:
        return "stale"
    if not is_running(sandbox_state, run_dir.sockets, environ):
        return "ended"
    return "spare" if sandbox_state.spare else "running"


def find(which: str, among: tuple[Listed, ...]) -> Listed:
    """The one with this id or name; MoatError when there is none, or more than one.

    A spare is nobody's yet, so it is found by its id only.
    """
    matching = [
        one
        for one in among
        if which == one.run_dir.id
        or (
            one.sandbox_state is not None
            and not one.sandbox_state.spare
            and which == one.sandbox_state.name
        )
    ]
    if not matching:
        there = ", ".join(one.title for one in among) or "none"
        raise MoatError(f"{which}: no sandbox of yours has this name or id; there are: {there}")
    if len(matching) > 1:
        ids = ", ".join(one.run_dir.id for one in matching)
        raise MoatError(f"{which}: {len(matching)} sandboxes have this name; say which: {ids}")
    return matching[0]
