"""The one look at the filesystem, when the plan is made.

It resolves the mounts' sources and expands the excludes' globs, and refuses what would make an
engine mount something else than was meant: above all links, which the sandbox itself may have
made at an earlier run. Nothing is written, and no link below a source is followed.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moat_nb.config import exclude_patterns
from moat_nb.config.model import MountEntry, VolumeEntry
from moat_nb.errors import ConfigError, Problem, collected
from moat_nb.planning.git_config import read_text
from moat_nb.planning.host_files import (
    Kind,
    View,
    config_error,
    expand,
    inspect,
    kind_of,
    mode_of,
)
from moat_nb.planning.missing_kind import directories_of, missing_kind
from moat_nb.planning.mounts import Bind, EmptyFile, MountPoint, Tmpfs, is_below, is_within

__all__ = ["Kind", "Resolved", "forbidden", "missing_points", "resolve_mounts"]

_KERNEL_TREES = ("/proc", "/sys", "/dev")
_RUN = "/run"
# Where desktops mount a user's own disks; the rest of /run holds engines' sockets.
_RUN_MEDIA = "/run/media"
_ENGINE_SOCKETS = ("docker.sock", "podman.sock", "containerd.sock", "crio.sock")


@dataclass(frozen=True, kw_only=True)
class Resolved:
    mounts: tuple[Bind | Tmpfs | EmptyFile, ...]
    """The binds in their given order, their sources absolute and without a link in them; then what
    covers the excludes, by target. A glob without a match gives none."""
    missing: tuple[MountPoint, ...]
    """Mount points that the host lacks, of excludes, mounts and volumes alike; parents first."""


def resolve_mounts(
    mounts: Sequence[MountEntry],
    volumes: Sequence[VolumeEntry],
    *,
    project: Path,
    home: Path,
    exclude_size: int,
    run_directories: Sequence[Path] = (),
    approvals: Path | None = None,
    files: bool = True,
) -> Resolved:
    """Look at the mounts' sources, and at each place below them where something is mounted.

    ``files``: whether a single file can be covered. ``exclude_size``: bytes of the tmpfs over an
    excluded directory. ``run_directories``: where sandboxes have their sockets, which no other may
    see; ``approvals``: where it is kept what was approved, which none may write. Raises ConfigError
    with all that was found wrong.
    """
    problems: list[Problem] = []
    sources: dict[str, str | None] = {volume.target: None for volume in volumes}
    kinds: dict[str, Kind] = dict.fromkeys(sources, "directory")
    for mount in mounts:
        sources[mount.target] = None
        with collected(problems):
            sources[mount.target], kinds[mount.target] = _source(
                mount, project, home, run_directories, approvals
            )
    view = View(sources)
    entries: list[MountEntry | VolumeEntry] = [*mounts, *volumes]
    for entry in entries:
        with collected(problems):
            _check_nested(view, entry.target, kinds.get(entry.target), entry.where)
    excluded: dict[str, Kind] = {}
    for mount in mounts:
        if mount.exclude and mount.target in kinds:
            excluded |= _excluded(view, mount, kinds[mount.target], files, problems)
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    binds = tuple(
        Bind(source=str(sources[mount.target]), target=mount.target, read_only=mount.read_only)
        for mount in mounts
    )
    covers = tuple(
        Tmpfs(target=target, size=exclude_size) if kind == "directory" else EmptyFile(target=target)
        for target, kind in sorted(excluded.items())
    )
    return Resolved(mounts=(*binds, *covers), missing=missing_points(binds, {**kinds, **excluded}))


def missing_points(binds: Iterable[Bind], targets: Mapping[str, Kind]) -> tuple[MountPoint, ...]:
    """The mount points to make on the host, for mounts at ``targets``, of whatever type.

    ``targets`` says for each whether a directory or a file is mounted there, and names all
    mounts: one that stands in a tmpfs or a volume needs nothing on the host. Parents come
    first; a missing directory on the way is not listed by itself.
    """
    opaque: dict[str, str | None] = dict.fromkeys(targets)
    view = View({**opaque, **{bind.target: bind.source for bind in binds}})
    points = []
    for target, kind in targets.items():
        root, relative = view.place(target)
        if root is not None and not os.path.lexists(f"{root}/{relative}"):
            points.append(MountPoint(root=root, relative=relative, kind=kind))
    return tuple(sorted(points, key=lambda p: (p.relative.count("/"), p.root, p.relative)))


def _source(
    mount: MountEntry,
    project: Path,
    home: Path,
    run_directories: Sequence[Path],
    approvals: Path | None,
) -> tuple[str, Kind]:
    """The source without a link in it, and what it is; ConfigError when it is refused."""
    source, where = mount.source, mount.where
    below = source.relative_to(project).parts if source.is_relative_to(project) else ()
    for length in range(1, len(below)):
        _refuse_link(project.joinpath(*below[:length]), where)
    _refuse_link(source, where)
    real = os.path.realpath(source)
    words = f"the source {source}" + ("" if real == str(source) else f" (that is {real})")
    rule = forbidden(real, os.path.realpath(home), map(os.path.realpath, run_directories))
    if not rule and approvals and _meet(real, os.path.realpath(approvals)):
        rule = f"what sandboxes may have is kept in {approvals}"
    if rule:
        raise config_error(where, f"{words} is refused: {rule}", "mount a directory of your own")
    kind = kind_of(real, words, where)
    if kind is None:
        raise config_error(where, f"{words} does not exist", "create it, or correct the path")
    for name in _ENGINE_SOCKETS if kind == "directory" else ():
        if stat.S_ISSOCK(mode_of(f"{real}/{name}", where)):
            raise config_error(where, f"{words} holds {name}, which rules the host's containers")
    return real, kind


def _refuse_link(path: Path, where: str) -> None:
    if stat.S_ISLNK(mode_of(str(path), where)):
        what = f"the source has a symbolic link in it: {path} -> {path.readlink()}"
        raise config_error(where, what, "name what it points to")


def forbidden(real: str, home: str, run_directories: Iterable[str]) -> str:
    """Why nothing may be mounted from there; empty when it may."""
    if real == "/":
        return "it is the whole host"
    if real == home:
        return "it is the home directory itself, with all its keys"
    if is_below(home, real):
        return "it holds the home directory"
    if is_within(real, *_KERNEL_TREES):
        return "it belongs to the host's kernel"
    if is_within(real, _RUN, os.path.realpath("/var/run")) and not is_below(real, _RUN_MEDIA):
        return "engines keep their sockets there"
    if real == "/var":
        return "it holds /var/run, where engines keep their sockets"
    for directory in run_directories:
        if _meet(real, directory):
            return f"sandboxes have their sockets in {directory}"
    return ""


def _meet(path: str, other: str) -> bool:
    """Whether one of the two lies in the other."""
    return is_within(path, other) or is_below(other, path)


def _check_nested(view: View, target: str, mounted: Kind | None, where: str) -> None:
    """That a mount's target can be mounted on, where it stands inside another mount."""
    found = inspect(view, target, where)
    if mounted and found and found != mounted:
        raise config_error(
            where, f"{target} is a {found} on the host, and a {mounted} is mounted there"
        )


def _excluded(
    view: View, mount: MountEntry, kind: Kind, files: bool, problems: list[Problem]
) -> dict[str, Kind]:
    """What one mount excludes, and what that is; what is wrong goes to ``problems``."""
    if kind == "file":
        what = f"the source {mount.source} is a file, and only a directory can have excludes"
        problems.append(Problem(where=mount.where, what=what, hint="remove exclude"))
        return {}
    globs = [exclude for exclude in mount.exclude if exclude_patterns.is_glob(exclude.pattern)]
    targets = {
        posixpath.join(mount.target, exclude.pattern): exclude
        for exclude in mount.exclude
        if exclude not in globs
    }
    if globs:
        # What is covered by name is opaque to the globs: neither walked into nor matched again.
        covered = View({**dict.fromkeys(targets), **view.sources})
        with collected(problems):
            targets |= expand(covered, mount.target, globs)
    found: dict[str, Kind] = {}
    ignored = directories_of(read_text(f"{view.sources[mount.target]}/.gitignore"))
    for target, exclude in targets.items():
        with collected(problems):
            if target in view.sources:
                what = f"{exclude.pattern!r} excludes {target}, where another mount stands"
                raise config_error(exclude.where, what, "remove one of the two")
            missing = missing_kind(exclude, ignored) if files else "directory"
            found[target] = inspect(view, target, exclude.where) or missing
    return found
