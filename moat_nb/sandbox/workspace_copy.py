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
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from moat_nb.config.model import WORKSPACE, Config
from moat_nb.errors import MoatError
from moat_nb.host.cleanup import remove_tree
from moat_nb.host.machine import Host, User
from moat_nb.host.whole_file import write_whole
from moat_nb.planning.kernel import kernel_user
from moat_nb.planning.mounts import is_below, is_within
from moat_nb.planning.walk import Over
from moat_nb.planning.workspace_copy import directory_of, tree_of
from moat_nb.sandbox.changes import DANGEROUS, RANKS, judged
from moat_nb.sandbox.comparison import GIT, Comparison, Known, Pair, Skipped
from moat_nb.sandbox.tree import Tree
from moat_nb.text.progress import Progress, Silent
from moat_nb.text.terminal import LOGGER

__all__ = ["Difference", "Pulled", "WorkspaceCopy"]


WAITED_SECONDS = 60.0
"""Who has less waits for no other moat-nb either."""

ALTERNATES = "objects/info/alternates"
"""In a repository: where else it has objects."""


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
    """Conflicts, what is dangerous and was not named, and what is not removed as something else
    failed."""
    failed: tuple[tuple[str, str], ...] = ()
    """Paths, and why they could not be brought back."""


@dataclass(frozen=True, kw_only=True)
class WorkspaceCopy:
    """The copy of one project. Methods raise MoatError."""

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
    """For one look at each tree; who has little does not wait for others either."""

    @classmethod
    def of(
        cls, config: Config, host: Host, elsewhere: str = "", *, anyway: bool = False
    ) -> WorkspaceCopy | None:
        """That of a project, on this machine or ``elsewhere``; None where its sandboxes work on its
        own files, unless one was left from before and is asked for ``anyway``."""
        entry = next(mount for mount in config.mounts if mount.target == WORKSPACE)
        source = Path(os.path.realpath(entry.copy_of or entry.source))
        directory = directory_of(source, host, elsewhere)
        left = anyway and tree_of(directory).is_dir()
        if config.workspace_mode != "volume" and not (left or elsewhere):
            return None
        targets = [mount.target for mount in config.mounts]
        targets += [volume.target for volume in config.volumes]
        return cls(
            source=source,
            directory=directory,
            patterns=tuple(exclude.pattern for exclude in entry.exclude),
            mounted=frozenset(t[len(WORKSPACE) + 1 :] for t in targets if is_below(t, WORKSPACE)),
            protect=config.kernel.protect,
            owner=kernel_user(config, host),
        )

    @property
    def tree(self) -> Path:
        return tree_of(self.directory)

    @property
    def is_there(self) -> bool:
        """Whether it was made, and to its end."""
        return self._known.exists() and self.tree.is_dir()

    # -------- from the project into the copy

    def refresh(self, progress: Progress | None = None) -> tuple[str, ...]:
        """Make the copy, or bring into it what changed in the project since; returns what a start
        is to say."""
        with self.locked():
            if not self.is_there:
                self._known.unlink(missing_ok=True)
                self._remove_tree()  # a copy that did not end
                self.tree.mkdir(mode=0o755)
                if self.owner is not None and os.geteuid() == 0:
                    os.chown(self.tree, self.owner.uid, self.owner.gid)
            with self._compared(self.owner) as compared:
                kept = compared.take_out_excluded()
                paths = compared.changed_here - compared.conflicts
                brought = self._bring(compared, paths, progress or Silent(), to_copy=True)
                compared.cover_excluded()
                self._write(compared.known)
        words = []
        if compared.conflicts:
            words.append(
                f"{_some(compared.conflicts)} changed in the project and in its copy: "
                "`moat-nb diff` shows both, and the sandbox has its own"
            )
        if kept:
            words.append(f"{_some(kept)} changed by a sandbox and excluded since: it stays inside")
        if brought.failed:
            path, why = brought.failed[0]
            words.append(f"{_some([p for p, _ in brought.failed])} not copied ({path}: {why})")
        return tuple(f"workspace: {each}" for each in words)

    def files_excluded_since(self) -> dict[str, bool]:
        """What was copied and is excluded now by itself, and not by its directory: whether a
        sandbox has changed it."""
        if not self.is_there:
            return {}
        skipped = Skipped(patterns=self.patterns, mounted=self.mounted)
        is_covered = skipped.covering()
        with self.locked(), Tree(self.tree, self.owner) as tree:
            return {
                path: tree.entry(path) != pair.copy
                for path, pair in self._read().excluded(skipped).items()
                if pair.copy.kind != "directory"
                if not is_covered(path.rpartition("/")[0])
            }

    # -------- from the copy to the project

    def in_a_line(self, found: Sequence[Difference] | None = None) -> str | None:
        """What a sandbox's end says of :meth:`differences`; None when there are none."""
        count = len(self.differences() if found is None else found)
        paths = "1 path differs" if count == 1 else f"{count} paths differ"
        words = f"{paths} in the copy of {self.source}: `moat-nb diff` shows what"
        return f"{words}, `moat-nb pull` brings it back" if count else None

    def differences(self, below: Collection[str] = ()) -> tuple[Difference, ...]:
        """What the sandboxes changed, by path; of some paths, or what lies below them."""
        if not self.is_there:
            return ()
        with self.locked(), self._compared() as compared:
            return tuple(self._differences(compared, below))

    def pull(
        self, below: Collection[str] = (), *, force: bool = False, mask: int = 0o022
    ) -> Pulled:
        """Bring back what the sandboxes changed: all, or paths and what lies below them.

        What is dangerous comes only when it is named itself, and what the project changed too only
        with ``force``. A repository that both changed comes whole, or not at all: with ``force``
        and when it is named. ``mask`` are the permissions that a new file has not.
        """
        if not self.is_there:
            return Pulled()
        with self.locked(), self._compared(mask=mask) as compared:
            found = tuple(self._differences(compared, below))
            wanted = {
                one.path: one
                for one in found
                if (force or not one.conflict) and (not one.danger or one.path in below)
            }
            if any(is_within(path, GIT) for path in compared.conflicts) and not (
                force and any(is_within(path, GIT) for path in below)
            ):
                # Commits without what names them, or the other way round, lose somebody's work.
                wanted = {path: one for path, one in wanted.items() if not is_within(path, GIT)}
            left = {one.path for one in found} - wanted.keys()
            for path in [path for path, one in wanted.items() if one.what == "removed"]:
                if not left.isdisjoint(_above(path)):
                    del wanted[path]  # it is gone for what is left
            brought = self._bring(compared, wanted, Silent(), to_copy=False)
        done = tuple(one for one in found if one.path in brought.done)
        lost = {path for path, _ in brought.failed}
        rest = tuple(one for one in found if one.path not in brought.done | lost)
        return Pulled(done=done, left=rest, failed=brought.failed)

    def discard(self) -> None:
        """Forget the copy with all that was changed in it; the next start makes another."""
        with self.locked():
            self._known.unlink(missing_ok=True)
            self._remove_tree()

    def _remove_tree(self) -> None:
        if self.tree.is_dir():
            self.tree.chmod(0o700)  # of a sandbox that has closed it
            remove_tree(str(self.tree))

    @contextmanager
    def trees(self) -> Iterator[tuple[Tree, Tree]]:
        """The project's and the copy, for who shows their contents."""
        with Tree(self.source) as host, Tree(self.tree) as copy:
            yield host, copy

    # -------- what is kept

    @property
    def _known(self) -> Path:
        return self.directory / "known.json"

    @contextmanager
    def locked(self, name: str = "lock") -> Iterator[None]:
        """One at a time, of those who ask for this name."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self.directory / name).open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    words = f"another moat-nb is at work on the copy of {self.source}"
                    if self.seconds < WAITED_SECONDS:
                        raise MoatError(words) from None
                    LOGGER.warning("%s; waiting for it", words)
                    fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except Over:
            raise MoatError(f"the copy of {self.source} takes too long to look at") from None
        except OSError as error:
            raise MoatError(f"the copy of {self.source}: {error}") from error

    @contextmanager
    def _compared(self, owner: User | None = None, mask: int = 0o022) -> Iterator[Comparison]:
        status = self.source.stat()
        host = Tree(self.source, User(status.st_uid, status.st_gid), mask)
        with host, Tree(self.tree, owner) as copy:
            until = time.monotonic() + self.seconds
            compared = Comparison(host=host, copy=copy, known=self._read(), until=until)
            skipped = Skipped(patterns=self.patterns, mounted=self.mounted)
            compared.look(skipped, self.seconds)
            yield compared

    def _read(self) -> Known:
        try:
            return Known.of_words(json.loads(self._known.read_bytes()))
        except FileNotFoundError:
            return Known()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            words = f"{self._known} cannot be read ({error})"
            raise MoatError(f"{words}; `moat-nb discard --yes` removes the copy") from error

    def _write(self, known: Known) -> None:
        write_whole(self._known, json.dumps(known.to_words()))

    def _bring(
        self, compared: Comparison, paths: Iterable[str], progress: Progress, *, to_copy: bool
    ) -> _Bringing:
        """Have some paths on the other side too. Nothing is removed where something else failed:
        it may have been moved there."""
        compared.settle()
        compared.remove_leftovers()
        bringing = _Bringing(compared=compared, to_copy=to_copy)
        ordered = sorted(paths)
        come = [path for path in ordered if path in bringing.wanted]
        gone = [path for path in reversed(ordered) if path not in bringing.wanted]
        # What stood in a directory goes before something else takes the directory's place.
        replaced = {path for path in come if bringing.wanted[path].kind != "directory"}
        in_the_way = [path for path in gone if not replaced.isdisjoint(_above(path))]
        if ordered:
            progress.stage(f"copying {self.source}")
        try:
            for number, path in enumerate((*in_the_way, *come)):
                progress.update(number, len(ordered))
                bringing.bring(path)
            if not bringing.failed:
                for path in (path for path in gone if path not in bringing.done):
                    bringing.bring(path)
        finally:
            self._write(compared.known)
        return bringing

    def _differences(self, compared: Comparison, below: Collection[str]) -> Iterator[Difference]:
        for path in sorted(compared.changed_there):
            if below and not any(is_within(path, top) for top in below):
                continue
            yield Difference(
                path=path,
                what=compared.what(path),
                conflict=path in compared.conflicts,
                danger=self._danger(path, compared),
            )

    def _danger(self, path: str, compared: Comparison) -> str:
        """Of what is there now, or was before it was removed."""
        entry, tree = compared.there.get(path), compared.copy
        if path == GIT:
            return "it is the repository"
        if path.endswith(ALTERNATES) and is_within(path, GIT):
            return "git: another directory's objects"
        if entry is None:
            if is_within(path, GIT):
                return "it belongs to the repository"
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


@dataclass(kw_only=True)
class _Bringing:
    """Paths on their way from one side of a comparison to the other."""

    compared: Comparison
    to_copy: bool
    done: set[str] = field(default_factory=set)
    failed: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        host = self.compared.host, self.compared.here
        copy = self.compared.copy, self.compared.there
        (self._source, self.wanted), (self._into, self._before) = (
            (host, copy) if self.to_copy else (copy, host)
        )

    def bring(self, path: str) -> None:
        seen = self.wanted.get(path)
        try:
            made = self._into.bring(path, self._source, seen, self._before.get(path))
        except OSError as error:
            self.failed = (*self.failed, (path, error.strerror or str(error)))
            return
        self.done.add(path)
        if seen is None or made is None:
            self.compared.known.pairs.pop(path, None)
        else:
            self.compared.known.pairs[path] = Pair(
                *((seen, made) if self.to_copy else (made, seen))
            )


def _above(path: str) -> set[str]:
    return {str(above) for above in PurePosixPath(path).parents}


def _some(paths: Collection[str]) -> str:
    first, count = min(paths), len(paths)
    return f"{first} was" if count == 1 else f"{first} and {count - 1} more were"
