"""``workspace.mode: volume``: the copy that a project's sandboxes work on, and what they changed.

Beside the tree it is kept what each path was like, here and there, when both were last the same. So
it is known who changed what since: a start brings the project's changes into the copy, and
`moat-nb pull` brings those of the sandboxes back. What both changed is a conflict, and stays as it
is on either side.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from moat_nb.config import exclude_patterns
from moat_nb.config.model import WORKSPACE, Config
from moat_nb.errors import MoatError
from moat_nb.host.machine import Host, User
from moat_nb.planning.kernel import kernel_user
from moat_nb.planning.mounts import is_below
from moat_nb.planning.walk import Budget, Over
from moat_nb.planning.workspace_copy import directory_of, tree_of
from moat_nb.sandbox.changes import DANGEROUS, RANKS, judged
from moat_nb.sandbox.project import LaunchPlan
from moat_nb.sandbox.tree import Entry, Kind, Tree, same_content
from moat_nb.text.progress import Progress, Silent

__all__ = ["Difference", "Pulled", "WorkspaceCopy", "with_fresh_copy"]

MAX_ENTRIES = 2_000_000
"""Of a tree."""

GIT = ".git"


class Pair(NamedTuple):
    """One path on both sides, when they were the same."""

    host: Entry
    copy: Entry


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What the sandboxes did at a path; it comes from them, and may hold anything but NUL."""

    path: str
    what: Literal["added", "changed", "removed"]
    conflict: bool = False
    """The project's file was changed since, too."""
    danger: str = ""
    """Why it is brought back only when it is named; empty where it is not dangerous."""


@dataclass(frozen=True, kw_only=True)
class Pulled:
    done: tuple[Difference, ...] = ()
    left: tuple[Difference, ...] = ()
    """Conflicts, and what is dangerous and was not named."""
    failed: tuple[tuple[str, str], ...] = ()
    """Paths, and why they could not be brought back."""


@dataclass(frozen=True, kw_only=True)
class WorkspaceCopy:
    """The copy of one project. Methods raise MoatError."""

    project: Path
    source: Path
    """What it is a copy of: the directory that moat.yaml mounts as the workspace."""
    directory: Path
    """What is kept of it, see :func:`~moat_nb.planning.workspace_copy.directory_of`."""
    patterns: tuple[str, ...] = ()
    """Excludes, which are not copied."""
    mounted: frozenset[str] = frozenset()
    """Paths where something else is mounted."""
    protect: tuple[str, ...] = ()
    owner: User | None = None
    """Whose the copy is."""
    seconds: float = 1800.0
    """For one look at each tree."""

    @classmethod
    def of(cls, config: Config, host: Host) -> WorkspaceCopy | None:
        """That of a project; None where its sandboxes work on its own files."""
        if config.workspace_mode != "volume":
            return None
        entry = next(mount for mount in config.mounts if mount.target == WORKSPACE)
        source = Path(os.path.realpath(entry.copy_of or entry.source))
        targets = [mount.target for mount in config.mounts]
        targets += [volume.target for volume in config.volumes]
        return cls(
            project=config.directory,
            source=source,
            directory=directory_of(source, host),
            patterns=tuple(exclude.pattern for exclude in entry.exclude),
            mounted=frozenset(t[len(WORKSPACE) + 1 :] for t in targets if is_below(t, WORKSPACE)),
            protect=config.kernel.protect,
            owner=kernel_user(config, host),
        )

    # -------- from the project into the copy

    def refresh(self, progress: Progress | None = None) -> tuple[str, ...]:
        """Make the copy, or bring into it what changed in the project since; returns what a start
        is to say."""
        progress = progress or Silent()
        with self._locked():
            if not self._base.exists():
                _remove(self._tree)  # a copy that did not end
                self._tree.mkdir(mode=0o755)
                if self.owner is not None and os.geteuid() == 0:
                    os.chown(self._tree, self.owner.uid, self.owner.gid)
            with self._compared(self.owner) as compared:
                conflicts = compared.conflicts
                paths = compared.changed_here - conflicts
                failed = self._bring(paths, compared.host, compared.copy, compared, progress)
                # A sandbox may have something else on the way to either.
                for path in compared.no_more:
                    with suppress(OSError):
                        compared.copy.remove(path)
                for path, kind in compared.covered.items():
                    with suppress(OSError):
                        compared.copy.make_empty(path, kind)
        words = []
        if conflicts:
            words.append(
                f"workspace: {_some(conflicts)} changed in the project and in its copy: "
                "`moat-nb diff` shows both, and the sandbox has its own"
            )
        if failed:
            path, why = failed[0]
            words.append(f"workspace: {_some([p for p, _ in failed])} not copied ({path}: {why})")
        return tuple(words)

    # -------- from the copy to the project

    def in_a_line(self) -> str | None:
        """What a sandbox's end says; None when nothing is changed."""
        count = len(self.differences())
        paths = "1 path differs" if count == 1 else f"{count} paths differ"
        words = f"{paths} in the copy of {self.source}: `moat-nb diff` shows what"
        return f"{words}, `moat-nb pull` brings it back" if count else None

    def differences(self, below: Collection[str] = ()) -> tuple[Difference, ...]:
        """What the sandboxes changed, by path; of some paths, or what lies below them."""
        if not self._base.exists():
            return ()
        with self._locked(), self._compared() as compared:
            return tuple(self._differences(compared, below))

    def pull(self, paths: Collection[str] = (), *, force: bool = False) -> Pulled:
        """Bring back what the sandboxes changed: all, or ``paths`` and what lies below them.

        What is dangerous comes only when it is named itself, and what the project changed too only
        with ``force``.
        """
        if not self._base.exists():
            return Pulled()
        with self._locked(), self._compared() as compared:
            found = tuple(self._differences(compared, paths))
            wanted = {
                one.path: one
                for one in found
                if (force or not one.conflict) and (not one.danger or one.path in paths)
            }
            into = Tree(self.source, _owner_of(self.source))
            with into:
                failed = self._bring(wanted, compared.copy, into, compared, Silent())
        lost = dict(failed)
        return Pulled(
            done=tuple(one for path, one in wanted.items() if path not in lost),
            left=tuple(one for one in found if one.path not in wanted),
            failed=failed,
        )

    def discard(self) -> None:
        """Forget the copy with all that was changed in it; the next start makes another."""
        with self._locked():
            self._base.unlink(missing_ok=True)
            _remove(self._tree)

    @contextmanager
    def trees(self) -> Iterator[tuple[Tree, Tree]]:
        """The project's and the copy, for who shows their contents."""
        with Tree(self.source) as host, Tree(self._tree) as copy:
            yield host, copy

    # -------- what is kept

    @property
    def _tree(self) -> Path:
        return tree_of(self.directory)

    @property
    def _base(self) -> Path:
        return self.directory / "base.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self.directory / "lock").open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise MoatError(f"the copy of {self.source}: {error}") from error

    @contextmanager
    def _compared(self, owner: User | None = None) -> Iterator[_Compared]:
        host, copy = Tree(self.source), Tree(self._tree, owner)
        with host, copy:
            compared = _Compared(host=host, copy=copy, base=self._read())
            compared.look(_Skipped(self.patterns, self.mounted), self.seconds)
            yield compared

    def _read(self) -> dict[str, Pair]:
        try:
            words = json.loads(self._base.read_bytes())
            return {path: Pair(_entry(host), _entry(copy)) for path, (host, copy) in words.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError) as error:
            raise MoatError(f"{self._base} cannot be read ({error}); `moat-nb discard`") from error

    def _write(self, base: Mapping[str, Pair]) -> None:
        words = {path: [_words(pair.host), _words(pair.copy)] for path, pair in base.items()}
        temporary = self.directory / f".{secrets.token_hex(8)}"
        try:
            temporary.write_text(json.dumps(words))
            temporary.replace(self._base)
        finally:
            temporary.unlink(missing_ok=True)

    def _bring(
        self,
        paths: Iterable[str],
        source: Tree,
        into: Tree,
        compared: _Compared,
        progress: Progress,
    ) -> tuple[tuple[str, str], ...]:
        """Returns what failed. What is removed goes first, the deepest before what it stands in."""
        ordered = sorted(paths)
        gone = [path for path in reversed(ordered) if source.entry(path) is None]
        there = set(gone)
        ordered = [*gone, *(path for path in ordered if path not in there)]
        failed = []
        if ordered:
            progress.stage(f"copying {self.source}")
        for number, path in enumerate(ordered):
            progress.update(number, len(ordered))
            try:
                into.bring(path, source)
                compared.settle(path)
            except OSError as error:
                failed.append((path, error.strerror or str(error)))
        self._write(compared.base)
        return tuple(failed)

    def _differences(self, compared: _Compared, below: Collection[str]) -> Iterator[Difference]:
        for path in sorted(compared.changed_there):
            if below and not any(path == top or path.startswith(f"{top}/") for top in below):
                continue
            yield Difference(
                path=path,
                what=compared.what(path),
                conflict=path in compared.conflicts,
                danger=self._danger(path, compared),
            )

    def _danger(self, path: str, compared: _Compared) -> str:
        """Of what is there now, or was before it was removed."""
        entry, tree = compared.there.get(path), compared.copy
        if entry is None:
            entry, tree = compared.here.get(path), compared.host
        if entry is None:
            return ""
        if path in compared.copy.closed:
            return "it cannot be read"
        try:
            with tree.parent(path) as (parent, _):
                rank, why = judged(path, parent, entry.mode, entry.target, self.protect)
        except OSError as error:
            return str(error)
        if rank is None or rank >= DANGEROUS:
            return ""
        return f"{RANKS[rank]}: {why}" if why else RANKS[rank]


def with_fresh_copy(
    plan: LaunchPlan,
    planned: Callable[[Config], LaunchPlan],
    progress: Callable[[], Progress],
) -> LaunchPlan:
    """The plan of a start that works on a copy, once the copy is there and as the project is now;
    any other as it is. Raises MoatError."""
    copy = WorkspaceCopy.of(plan.config, plan.host)
    if copy is None:
        return plan
    shown = progress()
    try:
        words = copy.refresh(shown)
    finally:
        shown.close()
    again = planned(plan.file)
    return replace(again, spec=replace(again.spec, notices=(*again.spec.notices, *words)))


@dataclass(kw_only=True)
class _Compared:
    """Both trees as they are, beside what they were like when they were the same."""

    host: Tree
    copy: Tree
    base: dict[str, Pair]
    here: dict[str, Entry] = field(default_factory=dict)
    """The project's."""
    there: dict[str, Entry] = field(default_factory=dict)
    """The copy's."""
    covered: dict[str, Kind] = field(default_factory=dict)
    """What of the project is excluded."""

    no_more: list[str] = field(default_factory=list)
    """What was copied, and is excluded since; the deepest first."""

    def look(self, skipped: _Skipped, seconds: float) -> None:
        """Raises MoatError."""
        is_skipped = skipped.asked()
        self.no_more = [path for path in sorted(self.base) if is_skipped(path)][::-1]
        for path in self.no_more:
            del self.base[path]
        for tree, found, hint in (
            (self.host, self.here, "exclude what is not needed"),
            (self.copy, self.there, "`moat-nb discard` removes it"),
        ):
            budget = Budget(entries=MAX_ENTRIES, seconds=seconds)
            try:
                for path, entry, skip in tree.entries(skipped.asked(), budget):
                    if not skip:
                        found[path] = entry
                    elif tree is self.host and path not in skipped.mounted:
                        self.covered[path] = entry.kind
            except Over:
                words = f"{tree.top} has more than {MAX_ENTRIES} files, or too deep ones"
                raise MoatError(f"{words}: {hint}") from None

    def _is_known(self, path: str) -> bool:
        """Whether both sides could be looked at there."""
        above = path.rpartition("/")[0]
        while above:
            if above in self.host.closed or above in self.copy.closed:
                return False
            above = above.rpartition("/")[0]
        return True

    @cached_property
    def changed_here(self) -> frozenset[str]:
        """Since the project was copied."""

        def is_changed(path: str) -> bool:
            pair = self.base.get(path)
            return _seen(self.here.get(path)) != _seen(pair and pair.host)

        return frozenset(filter(is_changed, filter(self._is_known, {*self.here, *self.base})))

    @cached_property
    def changed_there(self) -> frozenset[str]:
        """By sandboxes. A directory with something in it is not told of by itself."""
        full = {path.rpartition("/")[0] for path in self.there}

        def is_changed(path: str) -> bool:
            pair, now = self.base.get(path), self.there.get(path)
            if path in self.copy.closed:
                return True
            if _kept(now) == _kept(pair and pair.copy) or self._same(path):
                return False
            return now is None or now.kind != "directory" or path not in full

        return frozenset(filter(is_changed, filter(self._is_known, {*self.there, *self.base})))

    @property
    def conflicts(self) -> frozenset[str]:
        return self.changed_here & self.changed_there

    def what(self, path: str) -> Literal["added", "changed", "removed"]:
        if path not in self.there:
            return "removed"
        return "changed" if path in self.base or path in self.here else "added"

    def settle(self, path: str) -> None:
        """Both are the same there now."""
        host, copy = self.host.entry(path), self.copy.entry(path)
        if host is None or copy is None:
            self.base.pop(path, None)
        else:
            self.base[path] = Pair(host, copy)

    def _same(self, path: str) -> bool:
        """Whether the copy has what the project has, however it came there."""
        here, there = self.here.get(path), self.there.get(path)
        if here is None or there is None:
            return here is there
        if here.kind != there.kind or here.target != there.target:
            return False
        if here.kind != "file":
            return here.kind != "special"
        if here.size != there.size or here.executable != there.executable:
            return False
        return same_content(path, self.host, self.copy)


class _Skipped:
    """What is neither copied nor compared; asked in a walk's order."""

    def __init__(self, patterns: Sequence[str], mounted: frozenset[str]) -> None:
        self.mounted = mounted
        self._patterns = patterns

    def asked(self) -> Any:
        below = {"": exclude_patterns.start(self._patterns)}

        def skipped(path: str) -> bool:
            if path == GIT or path.startswith(f"{GIT}/"):
                return False  # half of it is a broken repository
            if path in self.mounted:
                return True
            directory, _, name = path.rpartition("/")
            if directory not in below:
                return True  # as what it is in
            matched, states = exclude_patterns.step(below[directory], name)
            if matched is None:
                below[path] = states
            return matched is not None

        return skipped


def _seen(entry: Entry | None) -> object:
    """By what it is known whether the user has changed it."""
    if entry is None or entry.kind == "directory":
        return entry and entry.kind
    return entry.kind, entry.size, entry.modified, entry.executable, entry.target


def _kept(entry: Entry | None) -> object:
    """By what it is known that a sandbox has not changed it."""
    if entry is None or entry.kind == "directory":
        return entry and entry.kind
    return entry.kind, entry.size, entry.changed, entry.inode, entry.target


def _words(entry: Entry) -> list[Any]:
    return [
        entry.kind,
        entry.mode,
        entry.size,
        entry.modified,
        entry.changed,
        entry.inode,
        entry.target,
    ]


def _entry(words: Any) -> Entry:
    kind, mode, size, modified, changed, inode, target = words
    return Entry(
        kind=kind,
        mode=int(mode),
        size=int(size),
        modified=int(modified),
        changed=int(changed),
        inode=int(inode),
        target=str(target),
    )


def _remove(tree: Path) -> None:
    """All of it, also what a sandbox has closed; none writes to it any more."""
    if not tree.is_dir():
        return
    for directory, names, _ in os.walk(tree):
        for path in (Path(directory, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(tree)


def _owner_of(directory: Path) -> User:
    status = directory.stat()
    return User(status.st_uid, status.st_gid)


def _some(paths: Collection[str]) -> str:
    first, count = min(paths), len(paths)
    return f"{first} was" if count == 1 else f"{first} and {count - 1} more were"
