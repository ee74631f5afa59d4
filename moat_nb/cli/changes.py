"""`moat-nb changes`: what changed in a sandbox's workspace since its start."""

from __future__ import annotations

import json
import sys

from moat_nb.cli.chosen import chosen
from moat_nb.errors import MoatError
from moat_nb.sandbox.changes import RANKS, Changes, changes_as_text
from moat_nb.sandbox.workspace import changes_of

__all__ = ["changes"]


def changes(which: str | None, *, as_json: bool) -> int:
    """Raises MoatError when there is no such sandbox."""
    one = chosen(which, "what it changed")
    if one.sandbox_state is None:
        raise MoatError(f"{one.title}: it is starting, and has changed nothing")
    if one.sandbox_state.copy:
        print("it works on a copy of the project: `moat-nb diff` tells of that", file=sys.stderr)
    found = changes_of(one.sandbox_state)
    print(json.dumps(_record(found), indent=2) if as_json else changes_as_text(found))
    return 0


def _record(found: Changes) -> dict[str, object]:
    """Paths as JSON has them: bytes that are no text as lone surrogates."""
    return {
        "complete": found.complete,
        "changes": [
            {"path": one.path, "what": RANKS[one.rank], "why": one.why} for one in found.found
        ],
    }
