"""The one look at the filesystem, when the plan is made.

It resolves the mounts' sources and expands the excludes' globs, and refuses what would make an
engine mount something else than was meant: above all links, which the sandbox itself may have
made at an earlier run. Nothing is written, and no link below a source is followed.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from moat_nb.config import exclude_patterns
from moat_nb.config.model import Exclude, KernelOptions, MountEntry, VolumeEntry
from moat_nb.errors import ConfigError, Problem, collected
from moat_nb.host.machine import User
from moat_nb.planning.git_config import read_text
from moat_nb.planning.host_files import (
    Kind,
    View,
    config_error,
    expand,
    inspect,
    kind_of,
    mode_of,
    too_many,
)
from moat_nb.planning.links import cover_links, is_link
from moat_nb.planning.missing_kind import directories_of, missing_kind
from moat_nb.planning.mounts import Bind, EmptyFile, MountPoint, Tmpfs, is_below, is_within

__all__ = ["Kind", "Resolved", "forbidden", "missing_points", "resolve_mounts"]

_KERNEL_TREES = ("/proc", "/sys", "/dev")
_RUN = "/run"
# Where desktops mount a user's own disks; the rest of /run holds engines' sockets.
_RUN_MEDIA = "/run/media"
SHOWN = 3
"""Directories named in notices."""

_ENGINE_SOCKETS = ("docker.sock", "podman.sock", "containerd.sock", "crio.sock")


@dataclass(frozen=True, kw_only=True)
class Resolved:
    mounts: tuple[Bind | Tmpfs | EmptyFile, ...]
    """The binds in their given order, their sources absolute and without a link in them; then what
    covers the excludes, by target. A glob without a match gives none."""
    missing: tuple[MountPoint, ...]
    """Mount points that the host lacks, of excludes, mounts and volumes alike; parents first."""
    notices: tuple[str, ...] = ()
    """What a start is to say of the excludes."""


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
    max_excludes: int = KernelOptions.max_excludes,
    user: User | None = None,
) -> Resolved:
    """Look at the mounts' sources, and at each place below them where something is mounted.

    ``files``: whether a single file can be covered. ``exclude_size``: bytes of the tmpfs over an
    excluded directory. ``run_directories``: where sandboxes have their sockets, which no other may
    see; ``approvals``: where it is kept what was approved, which none may write. ``user``: whose
    sandbox it is, if not the launcher's. Raises ConfigError with all that was found wrong.
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
    view = View(sources, user)
    entries: list[MountEntry | VolumeEntry] = [*mounts, *volumes]
    for entry in entries:
        with collected(problems):
            _check_nested(view, entry.target, kinds.get(entry.target), entry.where)
    found = _Excluded(view=view, files=files, limit=max_excludes, problems=problems)
    for mount in mounts:
        if mount.exclude and mount.target in kinds:
            found.look(mount, kinds[mount.target])
    with collected(problems):
        found.finish()
    excluded = found.kinds
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    binds = tuple(_bind(mount, str(sources[mount.target])) for mount in mounts)
    covers = tuple(
        Tmpfs(target=target, size=exclude_size) if kind == "directory" else EmptyFile(target=target)
        for target, kind in sorted(excluded.items())
    )
    return Resolved(
        mounts=(*binds, *covers),
        missing=missing_points(binds, {**kinds, **excluded}),
        notices=tuple(found.notices),
    )


def _bind(mount: MountEntry, source: str) -> Bind:
    return Bind(
        source=source,
        target=mount.target,
        read_only=mount.read_only,
        copy_of="" if mount.copy_of is None else os.path.realpath(mount.copy_of),
    )


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
    """The source without a link in it, and what it is; ConfigError when it is refused, or what it
    is a copy of."""
    if mount.copy_of is not None:
        original = replace(mount, source=mount.copy_of, copy_of=None)
        _source(original, project, home, run_directories, approvals)
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


@dataclass(kw_only=True)
class _Excluded:
    """Looks for what the mounts exclude; what is wrong goes to ``problems``."""

    view: View
    files: bool
    limit: int
    problems: list[Problem]
    kinds: dict[str, Kind] = field(default_factory=dict)
    """By target."""
    notices: list[str] = field(default_factory=list)
    _links: list[tuple[str, str]] = field(default_factory=list)

    def look(self, mount: MountEntry, kind: Kind) -> None:
        """Add what one mount excludes."""
        if kind == "file":
            what = f"the source {mount.source} is a file, and only a directory can have excludes"
            self.problems.append(Problem(where=mount.where, what=what, hint="remove exclude"))
            return
        globs = [exclude for exclude in mount.exclude if exclude_patterns.is_glob(exclude.pattern)]
        named = {
            posixpath.join(mount.target, exclude.pattern): exclude
            for exclude in mount.exclude
            if exclude not in globs
        }
        ignored = directories_of(read_text(f"{self.view.sources[mount.target]}/.gitignore"))
        for target, exclude in named.items():
            with collected(self.problems):
                self._named(target, exclude, ignored)
        if globs:
            with collected(self.problems):
                self._matched(mount.target, named, globs)
        if len(self.kinds) > self.limit:
            with collected(self.problems):
                raise too_many(self.limit, mount.exclude[0].where)

    def _named(self, target: str, exclude: Exclude, ignored: Collection[str]) -> None:
        if target in self.view.sources:
            what = f"{exclude.pattern!r} excludes {target}, where another mount stands"
            raise config_error(exclude.where, what, "remove one of the two")
        missing = missing_kind(exclude, ignored) if self.files else "directory"
        self.kinds[target] = inspect(self.view, target, exclude.where, special=True) or missing

    def _matched(self, top: str, named: Iterable[str], globs: Sequence[Exclude]) -> None:
        # What is covered by name is opaque to the globs: neither walked into nor matched again.
        covered = View({**dict.fromkeys(named), **self.view.sources}, self.view.user)
        found = expand(covered, top, globs, self.limit)
        for target, glob in found.matches.items():
            if is_link(self.view, target):
                self._links.append((target, glob.where))
            else:
                kind = inspect(self.view, target, glob.where, special=True)
                self.kinds[target] = kind or "directory"
        self.notices += _of_unreadable(found.unreadable)

    def finish(self) -> None:
        """What links show, now that it is known what is covered anyway."""
        self.notices += cover_links(self.view, self._links, self.kinds)


def _of_unreadable(found: Mapping[str, Exclude]) -> Iterator[str]:
    for target, glob in list(found.items())[:SHOWN]:
        yield (
            f"excludes: {target} cannot be looked into, so {glob.pattern} covers all of it; "
            "exclude it by name, or make it readable"
        )
    if len(found) > SHOWN:
        yield f"excludes: so it is with {len(found) - SHOWN} more"
