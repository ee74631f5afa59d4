"""Checks an edit of excludes before it is written: no edit may make a start refuse the file.

The file's reader and the resolver of mounts check the new text. Their problems with the old text do
not count: an exclude can be added on a machine that lacks another mount's source.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from moat_nb.config.exclude_patterns import check_all, is_glob, normalise
from moat_nb.config.model import Config, Exclude
from moat_nb.config.mounts import git_problems
from moat_nb.config.reader import read_config
from moat_nb.errors import ConfigError, Problem
from moat_nb.excludes import file as moat_file
from moat_nb.excludes.file import MoatFile
from moat_nb.host.machine import Host
from moat_nb.planning.resolve_mounts import resolve_mounts
from moat_nb.sandbox.approval import forget_excludes

__all__ = ["check", "pattern_problems", "save"]


def save(file: MoatFile, text: str) -> MoatFile:
    """:func:`check`, then :func:`moat_nb.excludes.file.save`. Who takes an exclude away by this
    has approved it."""
    check(file, text)
    saved = moat_file.save(file, text)
    with contextlib.suppress(ConfigError):  # in a file that no start accepts nothing is approved
        before, after = (
            read_config(one.data, path=one.path, home=Path.home(), label=one.label)
            for one in (file, saved)
        )
        forget_excludes(Host.current().approvals, before, after)
    return saved


def check(file: MoatFile, text: str) -> None:
    """Raises ConfigError with a start's problems with ``text`` that ``file`` does not have."""
    read, found = _problems(file, text.encode())
    if not found:
        return
    was_read, known = _problems(file, file.data)
    if read and not was_read:
        return  # The edit repairs the file, whose mounts could not be checked before.
    said = {problem.what for problem in known}
    added = [problem for problem in found if problem.what not in said]
    if added:
        raise ConfigError(added)


def pattern_problems(config: Config, target: str, patterns: Sequence[str]) -> list[tuple[int, str]]:
    """``(index, problem)`` of :func:`check_all`, and of cheap checks of the disk.

    ``patterns`` are for the mount at ``target``. Those in ``config`` are not checked again, and
    only :func:`check` expands globs.
    """
    words = dict(check_all(patterns))
    known = {e.pattern for mount in config.mounts if mount.target == target for e in mount.exclude}
    asked = {
        str(i): Exclude(pattern=normalise(pattern), where=str(i))
        for i, pattern in enumerate(patterns)
        if i not in words and normalise(pattern) not in known
    }
    if asked:
        before = _said(config, target, [])
        for problem in _said(config, target, list(asked.values())):
            if problem not in before:
                # What is said of the mount is said of all its excludes, by the last.
                index = int(problem.where if problem.where in asked else max(asked, key=int))
                words.setdefault(index, problem.words)
    return sorted(words.items())


def _said(config: Config, target: str, asked: Sequence[Exclude]) -> list[Problem]:
    """Against ``asked`` as the only excludes of all mounts."""

    def with_only(excludes: Sequence[Exclude]) -> Config:
        mounts = (
            replace(mount, exclude=tuple(excludes) if mount.target == target else ())
            for mount in config.mounts
        )
        return replace(config, mounts=tuple(mounts))

    named = [exclude for exclude in asked if not is_glob(exclude.pattern)]
    git = git_problems(with_only(asked).mounts, config.workspace_mode)
    return [*git, *_resolved(with_only(named))]


def _problems(file: MoatFile, data: bytes) -> tuple[bool, Sequence[Problem]]:
    """Whether ``data`` can be read in the place of ``file``, and all that a start says of it."""
    try:
        config = read_config(data, path=file.path, home=Path.home(), label=file.label)
    except ConfigError as error:
        return False, error.problems
    return True, _resolved(config)


def _resolved(config: Config) -> Sequence[Problem]:
    try:
        resolve_mounts(
            config.mounts,
            config.volumes,
            project=config.directory,
            home=Path.home(),
            exclude_size=0,
            max_excludes=config.kernel.max_excludes,
        )
    except ConfigError as error:
        return error.problems
    return ()
