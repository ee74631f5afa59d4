"""Sandboxes as other processes of the same user see them: which there are, and in what state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moat_nb.errors import MoatError
from moat_nb.host.run_directory import Note, RunDir, notes
from moat_nb.sandbox.stop import is_running

__all__ = ["Listed", "find", "sandboxes"]


State = Literal["starting", "running", "spare", "ended", "stale"]
"""``spare``: it waits for a start to come (``kernel.pool``); ``ended``: its launcher still holds on
to it; ``stale``: its launcher is dead."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    run_dir: RunDir
    note: Note | None
    state: State

    @property
    def title(self) -> str:
        return f"{self.run_dir.id} ({self.note.name})" if self.note else self.run_dir.id


def sandboxes(base: Path, environ: Mapping[str, str]) -> tuple[Listed, ...]:
    """Those below ``base``, oldest first; ``environ`` names the engine, as for a start."""
    found = [
        Listed(run_dir=run_dir, note=note, state=_state(run_dir, note, environ))
        for run_dir, note in notes(base)
    ]
    return tuple(sorted(found, key=lambda one: one.note.started if one.note else float("inf")))


def _state(run_dir: RunDir, note: Note | None, environ: Mapping[str, str]) -> State:
    if note is None:
        return "starting"
    if not note.owner.alive:
        return "stale"
    if not is_running(note, run_dir.sockets, environ):
        return "ended"
    return "spare" if note.spare else "running"


def find(which: str, among: tuple[Listed, ...]) -> Listed:
    """The one with this id or name; MoatError when there is none, or more than one.

    A spare is nobody's yet, so it is found by its id only.
    """
    matching = [
        one
        for one in among
        if which == one.run_dir.id
        or (one.note is not None and not one.note.spare and which == one.note.name)
    ]
    if not matching:
        there = ", ".join(one.title for one in among) or "none"
        raise MoatError(f"{which}: no sandbox of yours has this name or id; there are: {there}")
    if len(matching) > 1:
        ids = ", ".join(one.run_dir.id for one in matching)
        raise MoatError(f"{which}: {len(matching)} sandboxes have this name; say which: {ids}")
    return matching[0]
