"""Which sandboxes a word of the command line means, and which none at all does."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from moat_nb.config.file import find as find_file
from moat_nb.errors import ConfigError, MoatError
from moat_nb.host.run_directory import base_directory
from moat_nb.sandbox.listing import Listed, find, sandboxes
from moat_nb.text.tables import duration
from moat_nb.text.terminal import one_line

__all__ = ["all_of", "at", "chosen", "is_path", "mine"]


def mine() -> tuple[Listed, ...]:
    """The sandboxes of all of this user's processes, the oldest first."""
    return sandboxes(base_directory(os.environ, os.getuid()), os.environ)


def is_path(which: str) -> bool:
    return os.sep in which or which in (os.curdir, os.pardir)


def at(directory: str, among: tuple[Listed, ...]) -> tuple[Listed, ...]:
    """Those of the projects at or above ``directory``, spares too."""
    real = Path(os.path.realpath(directory))
    places = {str(real), *map(str, real.parents)}
    return tuple(
        one
        for one in among
        if one.sandbox_state and os.path.realpath(one.sandbox_state.project) in places
    )


def all_of(which: str) -> tuple[Listed, ...]:
    """All of a directory's project, or the one with this name or id; MoatError without any."""
    found = mine()
    if not is_path(which):
        return (find(which, found),)
    if of_it := at(which, found):
        return of_it
    raise MoatError(f"{which}: no sandbox of a project there runs; `moat-nb ps` lists them")


def chosen(which: str | None, what: str) -> Listed:
    """The one that is meant: by name or id, or a directory's newest. None means the newest of the
    project here, or outside of every project the newest of all, and says which that is.

    Raises MoatError when there is none; ``what`` goes with it.
    """
    if which is not None:
        return _newest(all_of(which)) if is_path(which) else all_of(which)[0]
    found = mine()
    here = _project_here()
    used = [one for one in (at(str(here), found) if here else found) if one.state != "spare"]
    if used:
        _say(used[-1])
        return used[-1]
    if not found or here is None:
        raise MoatError(f"there are no sandboxes of yours, and {what} goes with its sandbox")
    there = ", ".join(one.title for one in found)
    raise MoatError(
        f"there is no sandbox of the project in {here}, and {what} goes with its sandbox; of other "
        f"projects there are: {there}"
    )


def _newest(found: tuple[Listed, ...]) -> Listed:
    used = [one for one in found if one.state != "spare"]
    return (used or [*found])[-1]


def _project_here() -> Path | None:
    with suppress(ConfigError):
        return find_file(Path()).parent
    return None


def _say(one: Listed) -> None:
    age = ""
    if one.sandbox_state is not None:
        age = f", started {duration(time.time() - one.sandbox_state.started)} ago"
    print(f"moat-nb: {one_line(one.title)}{age}", file=sys.stderr)
