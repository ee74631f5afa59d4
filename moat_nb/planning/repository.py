"""What git needs in a sandbox: the repository that a worktree belongs to, and who commits.

A worktree's ``.git`` is a file that names a directory elsewhere. A sandbox could have written it,
so it counts only where that directory names the worktree in turn; and what lies outside of the
project is shown read-only and must be approved (``sandbox/permissions.py``).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

from moat_nb.config.model import WORKSPACE
from moat_nb.host.machine import Host
from moat_nb.planning.git_config import pairs, pointed, read_text
from moat_nb.planning.mounts import Bind, MountPlan, Tmpfs, is_within
from moat_nb.planning.protected import is_git_directory
from moat_nb.planning.resolve_mounts import forbidden

__all__ = ["git_variables", "with_repository"]

MOST_NAME = 256
"""Characters of a name or an address."""


def with_repository(plan: MountPlan, host: Host) -> MountPlan:
    """The plan, and what git needs of the workspace's repository where that lies elsewhere."""
    workspace = next((mount for mount in plan if mount.target == WORKSPACE), None)
    if not isinstance(workspace, Bind):
        return plan
    covered = {mount.target for mount in plan.excludes}
    if covered & {WORKSPACE, f"{WORKSPACE}/.git"}:
        return plan
    taken = {mount.target for mount in plan}
    more = [
        bind
        for bind in _directories(workspace.source)
        if bind.target not in taken and not _shown(bind, plan) and _allowed(bind.source, host)
    ]
    return plan.with_mounts(*more) if more else plan


def _directories(tree: str) -> Iterator[Bind]:
    """The git directory that ``tree`` names and the one it shares, each at the place where git will
    look for it inside; none unless it names ``tree``."""
    named = read_text(f"{tree}/.git").partition("gitdir:")[2].strip()
    if not named:
        return
    directory = posixpath.normpath(posixpath.join(tree, named))
    if not _belongs(directory, tree):
        return
    common = pointed(directory, "commondir") or directory
    inside = posixpath.normpath(posixpath.join(WORKSPACE, named))
    shared = posixpath.normpath(posixpath.join(inside, posixpath.relpath(common, directory)))
    found = {shared: common}
    if not is_within(directory, common):
        found[inside] = directory
    for target, source in found.items():
        real = os.path.realpath(source)
        if is_git_directory(_names(real)) or real == os.path.realpath(directory):
            yield Bind(source=real, target=target, read_only=True, role="git")


def _belongs(directory: str, tree: str) -> bool:
    """Whether a git directory says that ``tree`` is its work tree."""
    trees = [posixpath.dirname(pointed(directory, "gitdir"))]  # a worktree's
    for key, value in pairs(read_text(f"{directory}/config")):  # a submodule's
        if key == "core.worktree":
            trees.append(posixpath.normpath(posixpath.join(directory, value)))
    real = os.path.realpath(tree)
    return any(os.path.realpath(path) == real for path in trees if path)


def _names(directory: str) -> Sequence[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208
    except OSError:
        return ()


def _shown(bind: Bind, plan: MountPlan) -> bool:
    """Whether something of the host's, or what covers it, stands there or above."""
    above = [mount for mount in plan if is_within(bind.target, mount.target)]
    there = max(above, key=lambda mount: len(mount.target), default=None)
    return not (there is None or (isinstance(there, Tmpfs) and there.role in ("tmp", "home")))


def _allowed(source: str, host: Host) -> bool:
    runs = map(os.path.realpath, host.run_directories)
    return not forbidden(source, os.path.realpath(host.home), runs)


def git_variables(home: Path | None) -> dict[str, str]:
    """By which git takes the mounts for the kernel's own, and commits as the user whose ``home`` it
    is, if one is given.

    Only the name and the address are read of the user's own config, and no program is run for it.
    """
    found: dict[str, str] = {}
    files = (home / ".config/git/config", home / ".gitconfig") if home is not None else ()
    for file in files:  # the later one is stronger
        for key, value in pairs(read_text(str(file))):
            if key in ("user.name", "user.email") and value.isprintable():
                found[key] = value[:MOST_NAME]
    variables = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    for key, name in (("user.name", "NAME"), ("user.email", "EMAIL")):
        if found.get(key):
            variables |= {f"GIT_{who}_{name}": found[key] for who in ("AUTHOR", "COMMITTER")}
    return variables
