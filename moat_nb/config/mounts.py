"""``mounts`` and ``volumes``: what stands where, without a look at the filesystem."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from moat_nb.config import exclude_patterns
from moat_nb.config.cursor import Cursor
from moat_nb.config.model import WORKSPACE, Config, Exclude, MountEntry, VolumeEntry
from moat_nb.config.shapes import Block, Boolean, Choice, Either, Keys, ListOf, Text, Word, key
from moat_nb.config.yaml_nodes import Problems, shown
from moat_nb.errors import ConfigError, Problem

__all__ = [
    "HOME",
    "MOUNTS",
    "VOLUMES",
    "Base",
    "check_targets",
    "git_problems",
    "listed",
    "mounts",
    "volumes",
    "with_mounts",
]

HOME = "/home/moatuser"
"""HOME inside the sandbox: a tmpfs of its own."""

RESERVED_TREES = ("/proc", "/sys", "/dev", "/run/moat", f"{HOME}/.venv")
"""The sandbox's own, with all below: the kernel's file systems, the guest, and where pip writes."""

RESERVED = (
    "/",
    *("/bin", "/lib", "/lib64", "/sbin", "/usr"),  # the image's programs
    *("/usr/bin", "/usr/lib", "/usr/lib64", "/usr/sbin"),
    *("/etc", "/etc/group", "/etc/hosts", "/etc/passwd"),
    *("/home", HOME, "/run", "/tmp"),  # the sandbox's own tmpfs, and parents of them
)
"""Refused as targets themselves; below them a mount may stand."""

_Fail: TypeAlias = "Callable[..., None]"
"""Called with what is wrong, and perhaps what to do about it."""

_FORM = "write source:target, source:target:ro or source:target:rw"
# These separate the fields of an engine's mount options.
_UNSAFE_CHARACTERS = r'\x00-\x1f\x7f,:"\\'
_UNSAFE = re.compile(f"[{_UNSAFE_CHARACTERS}]")
_SOURCE = r"(?!~[^/])[^\x00]+"
_TARGET = f"/[^{_UNSAFE_CHARACTERS}]*"


class _MountKeys(Keys):
    source = key(
        Text(form=re.compile(_SOURCE)),
        "A path of this machine, relative to moat.yaml; ~ is your home.",
        required=True,
    )
    target = key(Text(form=re.compile(_TARGET)), "The absolute path in the sandbox.", required=True)
    mode = key(Choice(options=("ro", "rw")), "ro: the sandbox cannot write there.", default="rw")
    exclude = key(
        ListOf(item=Text()),
        "Paths and globs, relative to the target, that the sandbox does not see.",
    )


class _VolumeKeys(Keys):
    name = key(
        Word(
            pattern=re.compile(r"[a-z0-9][a-z0-9_-]{0,63}"),
            rule="a volume's name: lower-case letters, digits, - and _, a letter or digit first",
        ),
        "The volume's name, within the project.",
        required=True,
    )
    target = key(Text(form=re.compile(_TARGET)), "The absolute path in the sandbox.", required=True)
    readonly = key(Boolean(), "Whether the sandbox cannot write there.", default=False)
    type = key(
        Choice[Literal["bind", "volume"]](options=("bind", "volume")),
        "bind: a directory of yours; volume: one that the engine keeps.",
        default="bind",
    )


MOUNTS = ListOf(
    item=Either(
        (Text(form=re.compile(rf"(?!~[^/:])[^:]+:{_TARGET}(:(ro|rw))?")), Block(_MountKeys)),
    )
)
VOLUMES = ListOf(item=Block(_VolumeKeys))


@dataclass(frozen=True, kw_only=True)
class Base:
    """Where relative sources and ``~`` start; both absolute."""

    directory: Path
    home: Path


def mounts(cursor: Cursor, base: Base) -> tuple[MountEntry, ...]:
    """The file's mounts, with the project at :data:`WORKSPACE` in front unless one is there."""
    found = listed(cursor, base)
    if all(entry.target != WORKSPACE for entry in found):
        found.insert(0, _workspace(base.directory, cursor.problems.label))
    return tuple(found)


def listed(cursor: Cursor, base: Base) -> list[MountEntry]:
    """A list of mounts, as it is."""
    return [entry for item in cursor.items() if (entry := _mount(item, base))]


def volumes(cursor: Cursor, *, named: bool) -> tuple[VolumeEntry, ...]:
    """The file's volumes; ``named``: whether it has a ``name:``, which they are kept under."""
    if cursor.given and not named:
        cursor.fail("volumes are kept by project name, and the file has none", "add name: NAME")
    found = [entry for item in cursor.items() if (entry := _volume(item))]
    seen: dict[str, VolumeEntry] = {}
    for entry in found:
        before = seen.setdefault(entry.name, entry)
        if before is not entry:
            cursor.problems.add(
                entry.where,
                f"the volume {entry.name!r} is given twice, first at {before.where}",
                "give each its own name",
            )
    return tuple(found)


def check_targets(
    mounts: Sequence[MountEntry], volumes: Sequence[VolumeEntry], problems: Problems
) -> None:
    """Of two mounts with one target an engine would choose; so it is a problem."""
    entries: list[MountEntry | VolumeEntry] = [*mounts, *volumes]
    first: dict[str, MountEntry | VolumeEntry] = {}
    for entry in entries:
        before = first.setdefault(entry.target, entry)
        if before is not entry:
            problems.add(
                entry.where,
                f"a second mount at {entry.target}, the first is at {before.where}",
                "give each its own target",
            )


def with_mounts(config: Config, texts: Sequence[str], *, home: Path) -> Config:
    """``config`` with mounts of the command line, ``source:target[:ro|rw]``.

    As in the file, relative sources start at the project, and one that targets
    :data:`WORKSPACE` replaces the automatic mount. Raises ConfigError.
    """
    base = Base(directory=config.directory, home=home)
    problems = Problems(label="--mount")
    added = []
    for text in texts:
        where = f"--mount {text}"
        entry = _from_text(text, base, where, partial(problems.add, where))
        added += [entry] if entry else []
    kept = config.mounts
    if any(entry.target == WORKSPACE for entry in added):
        kept = tuple(old for old in kept if old != _workspace(config.directory, old.where))
    mounts = (*kept, *added)
    check_targets(mounts, config.volumes, problems)
    if problems.found:
        raise ConfigError(problems.found)
    return replace(config, mounts=mounts)


def git_problems(mounts: Sequence[MountEntry], workspace_mode: str) -> tuple[Problem, ...]:
    """The workspace's excludes that name ``.git`` or something in it, where it is copied.

    A ``**`` does not name it: ``**/node_modules`` is meant for the files of the project.
    """
    return tuple(
        Problem(
            where=exclude.where,
            what=f"{exclude.pattern!r} leaves .git out of the copy that workspace.mode: volume "
            "makes",
            hint="remove it: half of .git is a broken repository",
        )
        for mount in mounts
        if mount.target == WORKSPACE and workspace_mode == "volume"
        for exclude in mount.exclude
        if _names_git(exclude.pattern)
    )


def _names_git(pattern: str) -> bool:
    matched, _ = exclude_patterns.step(exclude_patterns.start([pattern]), ".git")
    first = pattern.split("/", maxsplit=1)[0]
    return matched is not None or (first != "**" and fnmatchcase(".git", first))


def _workspace(directory: Path, where: str) -> MountEntry:
    return MountEntry(source=directory, target=WORKSPACE, where=where)


def _mount(item: Cursor, base: Base) -> MountEntry | None:
    if item.node is not None and item.node.kind == "scalar":
        return _from_text(item.node.text, base, item.where, item.fail)
    fields = item.fields(_MountKeys.names())
    if item.node is None or item.node.kind != "mapping":
        return None
    # Both, so that both are reported.
    source = _source(fields.read(_MountKeys.source), base, fields.at(_MountKeys.source).fail)
    target = _target(fields.read(_MountKeys.target), fields.at(_MountKeys.target).fail)
    read_only = fields.read(_MountKeys.mode) == "ro"
    exclude = _excludes(fields.at(_MountKeys.exclude))
    if source is None or target is None:
        return None
    return MountEntry(
        source=source, target=target, read_only=read_only, exclude=exclude, where=item.where
    )


def _from_text(text: str, base: Base, where: str, fail: _Fail) -> MountEntry | None:
    parts = text.split(":")
    if len(parts) not in {2, 3}:
        fail(f"{shown(text)} is not a mount", _FORM)
        return None
    if len(parts) == 3 and parts[2] not in {"ro", "rw"}:
        fail(f"{shown(text)} has the mode {shown(parts[2])}, neither ro nor rw", _FORM)
        return None
    if not parts[0] or not parts[1]:
        fail(f"{shown(text)} has no {'target' if parts[0] else 'source'}", _FORM)
        return None
    source = _source(parts[0], base, fail)
    target = _target(parts[1], fail)
    if source is None or target is None:
        return None
    return MountEntry(source=source, target=target, read_only=parts[2:] == ["ro"], where=where)


def _source(text: str | None, base: Base, fail: _Fail) -> Path | None:
    """The absolute host path; None, with a problem unless ``text`` is empty, when there is none."""
    if not text:
        return None
    if text.startswith("~") and not text.startswith("~/") and text != "~":
        fail(f"{shown(text)}: only your own home can be written as ~", "write the whole path")
        return None
    if text.startswith("~"):
        text = str(base.home) + text[1:]
    # The project's directory is resolved, so taking `..` away as text follows no link.
    return Path(os.path.normpath(base.directory / text))


def _target(text: str | None, fail: _Fail) -> str | None:
    """The normalised target; None, with a problem unless ``text`` is empty, when refused."""
    if not text:
        return None
    target = "/" + posixpath.normpath(text).lstrip("/")
    rule = ""
    if not text.startswith("/"):
        rule = "a target is an absolute path in the sandbox"
    elif ".." in text.split("/"):
        rule = "'..' may not stand in it"
    elif found := _UNSAFE.search(text):
        rule = f"a target may not hold the character {found[0]!r}"
    elif target in RESERVED:
        rule = f"{target} is the sandbox's own; mount below it or elsewhere"
    elif tree := next((t for t in RESERVED_TREES if target == t or target.startswith(f"{t}/")), ""):
        rule = f"{tree} is the sandbox's own; mount elsewhere"
    if rule:
        fail(f"the target {shown(text)} is refused: {rule}")
        return None
    return target


def _excludes(cursor: Cursor) -> tuple[Exclude, ...]:
    given = [
        (item, text) for item in cursor.items() if (text := item.text(None, empty=True)) is not None
    ]
    for index, words in exclude_patterns.check_all([text for _, text in given]):
        given[index][0].fail(words)
    return tuple(
        Exclude(
            pattern=exclude_patterns.normalise(text),
            where=item.where,
            kind="directory" if text.endswith("/") else None,
        )
        for item, text in given
    )


def _volume(item: Cursor) -> VolumeEntry | None:
    fields = item.fields(_VolumeKeys.names())
    if item.node is None or item.node.kind != "mapping":
        return None
    # All, so that all are reported.
    name = fields.read(_VolumeKeys.name)
    target = _target(fields.read(_VolumeKeys.target), fields.at(_VolumeKeys.target).fail)
    entry = VolumeEntry(
        name=name or "",
        target=target or "",
        read_only=fields.read(_VolumeKeys.readonly),
        type=fields.read(_VolumeKeys.type),
        where=item.where,
    )
    return entry if name and target else None
