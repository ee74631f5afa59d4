"""`moat-nb exclude add`, `remove` and `list`: what a project's sandbox does not see."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from moat_nb.config.exclude_patterns import normalise
from moat_nb.config.reader import read_config
from moat_nb.config.yaml_nodes import nearest
from moat_nb.errors import ConsentNeeded, EditError
from moat_nb.excludes import checks, get_excludes, set_excludes
from moat_nb.excludes.file import MoatFile, diff, read
from moat_nb.text.tables import table

__all__ = ["change", "show"]


def change(
    project: str,
    target: str,
    paths: Sequence[str],
    *,
    remove: bool,
    objects: bool = False,
    dry_run: bool = False,
) -> int:
    """Save the change and print it as a diff. Raises ConfigError or EditError.

    Also for what would be saved and no start would accept.
    """
    file = read(project)
    now = get_excludes(file.text, target)
    after = _without(now, paths, file, target) if remove else _with(now, paths)
    try:
        text = set_excludes(file.text, target, after, objects=objects)
    except ConsentNeeded as error:
        raise ConsentNeeded(f"{error}; consent with --objects") from None
    if text == file.text:
        print(f"{file.label}: nothing to change", file=sys.stderr)
        return 0
    if dry_run:
        checks.check(file, text)
    else:
        checks.save(file, text)
    print(diff(file.text, text, file.label), end="")
    if not dry_run:
        print("saved; a sandbox that runs has it after a reset", file=sys.stderr)
    return 0


def _with(now: Sequence[str], paths: Sequence[str]) -> list[str]:
    known = {normalise(path) for path in now}
    return [*now, *(path for path in dict.fromkeys(paths) if normalise(path) not in known)]


def _without(now: Sequence[str], paths: Sequence[str], file: MoatFile, target: str) -> list[str]:
    gone = {normalise(path): path for path in paths}
    known = {normalise(path) for path in now}
    for name, path in gone.items():
        if name not in known:
            near = nearest(name, known)
            hint = f"; did you mean {near!r}?" if near else ""
            raise EditError(f"{file.label}: {path!r} is not among the excludes of {target}{hint}")
    return [path for path in now if normalise(path) not in gone]


def show(project: str, *, as_json: bool) -> int:
    """Print the mounts with their excludes. Raises ConfigError."""
    file = read(project)
    config = read_config(file.data, path=file.path, home=Path.home(), label=file.label)
    if as_json:
        mounts = [
            {
                "source": str(mount.source),
                "target": mount.target,
                "exclude": [exclude.pattern for exclude in mount.exclude],
            }
            for mount in config.mounts
        ]
        print(json.dumps({"file": str(file.path), "mounts": mounts}, indent=2))
        return 0
    rows = [
        (mount.target, exclude.pattern, exclude.where)
        for mount in config.mounts
        for exclude in mount.exclude
    ]
    if rows:
        print(table([("TARGET", "EXCLUDE", "WHERE"), *rows]))
    return 0
