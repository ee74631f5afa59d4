"""``kernel.workspace: notebook``: the workspace is the directory that a kernel is started in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from moat_nb.config.model import WORKSPACE, Config, MountEntry
from moat_nb.errors import ConfigError, Problem
from moat_nb.planning.mounts import is_within

__all__ = ["directory_notices", "in_directory"]

KEY = "kernel.workspace"


def in_directory(config: Config, directory: Path | None, *, anywhere: bool) -> Config:
    """The config for a kernel that is started in ``directory``, where the workspace's excludes
    hold; None where it is not known yet. A config without the key is as it is.

    ``anywhere``: the user has said that it may lie outside of the project, which a file cannot.
    Raises ConfigError.
    """
    if config.kernel.workspace != "notebook":
        return config
    if config.workspace_mode == "volume":
        what = f"{KEY}: notebook beside workspace.mode: volume is not supported yet"
        raise _refused(config, what, "take one of the two out", supported=False)
    if directory is None:
        return config
    real, project = os.path.realpath(directory), os.path.realpath(config.directory)
    given = f"{KEY}: notebook gives a kernel the directory that it is started in"
    if is_within(os.path.realpath(config.path), real):
        what = f"{given}, and {real} holds {config.path.name}"
        raise _refused(config, what, "start it below, in the directory of a notebook")
    if not anywhere and not is_within(real, project):
        what = f"{given}, and {real} is not below {project}"
        raise _refused(config, what, "`moat-nb install --workspace notebook` allows any directory")

    def mount(entry: MountEntry) -> MountEntry:
        return replace(entry, source=Path(real)) if entry.target == WORKSPACE else entry

    return replace(config, mounts=tuple(map(mount, config.mounts)))


def directory_notices(config: Config, directory: Path | None) -> Iterator[str]:
    if config.kernel.workspace == "notebook" and directory is None:
        yield f"workspace: the directory that each kernel is started in ({KEY}: notebook)"


def _refused(config: Config, what: str, hint: str, *, supported: bool = True) -> ConfigError:
    where = config.place(KEY)
    return ConfigError([Problem(where=where, what=what, hint=hint, supported=supported)])
