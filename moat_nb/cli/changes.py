"""`moat-nb changes`: what changed in a sandbox's workspace since its start."""

from __future__ import annotations

import json
import os
from pathlib import Path

from moat_nb.cli.sandboxes import chosen, mine
from moat_nb.errors import MoatError
from moat_nb.host.run_directory import SandboxState
from moat_nb.sandbox.changes import RANKS, Changes, changes_as_text
from moat_nb.sandbox.listing import Listed
from moat_nb.sandbox.workspace import changes_of

__all__ = ["changes"]


def changes(which: str | None, *, as_json: bool) -> int:
    """Raises MoatError when there is no such sandbox."""
    which = os.curdir if which is None else which
    one = _of_directory(which) if _is_path(which) else chosen(which, "what it changed")
    if one.sandbox_state is None:
        raise MoatError(f"{one.title}: it is starting, and has changed nothing")
    found = changes_of(one.sandbox_state)
    print(json.dumps(_record(found), indent=2) if as_json else changes_as_text(found))
    return 0


def _is_path(which: str) -> bool:
    return os.sep in which or which in (os.curdir, os.pardir)


def _of_directory(which: str) -> Listed:
    """The newest of the project at or above a directory."""
    real = Path(os.path.realpath(which))
    places = {str(real), *map(str, real.parents)}
    used = [one for one in mine() if one.sandbox_state and one.state != "spare"]
    of_it = [one for one in used if one.sandbox_state and _project(one.sandbox_state) in places]
    if not of_it:
        raise MoatError(f"{which}: no sandbox of a project there runs; `moat-nb ps` lists them")
    return of_it[-1]


def _project(state: SandboxState) -> str:
    return os.path.realpath(state.project)


def _record(found: Changes) -> dict[str, object]:
    """Paths as JSON has them: bytes that are no text as lone surrogates."""
    return {
        "complete": found.complete,
        "changes": [
            {"path": one.path, "what": RANKS[one.rank], "why": one.why} for one in found.found
        ],
    }
