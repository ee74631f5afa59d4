"""A project and its copy, each path as it is beside what it was when both were last the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal, NamedTuple

from moat_nb.config import exclude_patterns
from moat_nb.errors import MoatError
from moat_nb.planning.mounts import is_within
from moat_nb.planning.walk import Budget, Over
from moat_nb.sandbox.tree import TEMPORARY, Entry, Kind, Tree, same_content

__all__ = ["GIT", "MAX_ENTRIES", "Comparison", "Known", "Pair", "Skipped", "entry_of", "words_of"]

MAX_ENTRIES = 2_000_000
"""Of a tree."""

GIT, OBJECTS = ".git", ".git/objects"


class Pair(NamedTuple):
    """One path on both sides, when they were the same."""

    host: Entry
    copy: Entry


@dataclass(kw_only=True)
class Known:
    """What is kept of a copy between two looks."""

    pairs: dict[str, Pair] = field(default_factory=dict)
    covers: dict[str, Entry] = field(default_factory=dict)
    """What a start has made in the copy where something of the project's is excluded."""

    def excluded(self, skipped: Skipped) -> dict[str, Pair]:
        """What was copied, and is ``skipped`` now."""
        is_covered = skipped.covering()
        return {path: pair for path, pair in sorted(self.pairs.items()) if is_covered(path)}

    def to_words(self) -> dict[str, Any]:
        return {
            "pairs": {path: [words_of(e) for e in pair] for path, pair in self.pairs.items()},
            "covers": {path: words_of(entry) for path, entry in self.covers.items()},
        }

    @classmethod
    def of_words(cls, words: Any) -> Known:
        """The reverse; ValueError, TypeError or KeyError for anything else."""
        return cls(
            pairs={path: Pair(entry_of(a), entry_of(b)) for path, (a, b) in words["pairs"].items()},
            covers={path: entry_of(entry) for path, entry in words["covers"].items()},
        )


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """What is neither copied nor compared."""

    patterns: Sequence[str]
    """Excludes."""
    mounted: frozenset[str]
    """Paths where something else is mounted."""

    def covering(self) -> Callable[[str], bool]:
        """To be asked of any path: whether it, or a directory above it, is left out."""
        is_skipped = self.asked()
        return lambda path: any(map(is_skipped, accumulate(path.split("/"), "{}/{}".format)))

    def asked(self) -> Callable[[str], bool]:
        """To be asked of each path after its parents."""
        below = {"": exclude_patterns.start(self.patterns)}

        def skipped(path: str) -> bool:
            directory, _, name = path.rpartition("/")
            if TEMPORARY.fullmatch(name):
                return True
            if is_within(path, GIT):
                return False  # half of it is a broken repository
            if path in self.mounted or directory not in below:  # as what it is in
                return True
            matched, states = exclude_patterns.step(below[directory], name)
            if matched is None:
                below[path] = states
            return matched is not None

        return skipped


@dataclass(kw_only=True)
class Comparison:
    host: Tree
    copy: Tree
    known: Known
    until: float
    """By the monotonic clock: then Over is raised."""
    here: dict[str, Entry] = field(default_factory=dict)
    """The project's."""
    there: dict[str, Entry] = field(default_factory=dict)
    """The copy's."""
    excluded: dict[str, Entry] = field(default_factory=dict)
    """The project's, at the top of what is excluded."""
    excluded_since: dict[str, Pair] = field(default_factory=dict)
    """What was copied before."""
    leftovers: list[tuple[Tree, str]] = field(default_factory=list)
    """Files of a run that was killed as it wrote them."""

    def look(self, skipped: Skipped, seconds: float) -> None:
        """Raises MoatError."""
        self.excluded_since = self.known.excluded(skipped)
        for tree, found, hint in (
            (self.host, self.here, "exclude what is not needed"),
            (self.copy, self.there, "`moat-nb discard` removes it"),
        ):
            budget = Budget(entries=MAX_ENTRIES, seconds=seconds)
            try:
                for path, entry, skip in tree.entries(skipped.asked(), budget):
                    if TEMPORARY.fullmatch(path.rpartition("/")[2]):
                        self.leftovers.append((tree, path))
                    elif not skip:
                        found[path] = entry
                    elif tree is self.host and path not in skipped.mounted:
                        self.excluded[path] = entry
            except Over:
                words = f"{tree.top} has more files than can be looked at, or too deep ones"
                raise MoatError(f"{words}: {hint}") from None
        for path in self.bare_covers:
            self.there.pop(path, None)

    @cached_property
    def bare_covers(self) -> tuple[str, ...]:
        """Of what is excluded no longer; nothing was made of them."""
        return tuple(
            path
            for path, cover in self.known.covers.items()
            if _kept(self.there.get(path)) == _kept(cover) and path not in self._full
        )

    @cached_property
    def _full(self) -> frozenset[str]:
        """The copy's directories with something in them."""
        return frozenset(path.rpartition("/")[0] for path in self.there)

    @cached_property
    def changed_here(self) -> frozenset[str]:
        """Since the project was copied."""

        def is_changed(path: str) -> bool:
            pair, now = self.known.pairs.get(path), self.here.get(path)
            if now is not None and now.kind == "special":
                return False
            if now is None and is_within(path, OBJECTS):
                return False  # what a repository holds may be needed on the other side
            return _kept(now) != _kept(pair and pair.host) and not self.is_same(path)

        return frozenset(filter(is_changed, self._paths(self.here)))

    @cached_property
    def changed_there(self) -> frozenset[str]:
        """By sandboxes. A directory with something in it is not told of by itself, unless it was no
        directory before."""

        def is_changed(path: str) -> bool:
            pair, now = self.known.pairs.get(path), self.there.get(path)
            if path in self.copy.closed:
                return True
            if now is None and is_within(path, OBJECTS):
                return False
            if _kept(now) == _kept(pair and pair.copy) or self.is_same(path):
                return False
            if now is None or now.kind != "directory" or path not in self._full:
                return True
            return path in self.here and self.here[path].kind != "directory"

        return frozenset(filter(is_changed, self._paths(self.there)))

    @cached_property
    def conflicts(self) -> frozenset[str]:
        return self.changed_here & self.changed_there

    def what(self, path: str) -> Literal["added", "changed", "removed"]:
        if path not in self.there:
            return "removed"
        return "changed" if path in self.known.pairs or path in self.here else "added"

    def settle(self) -> None:
        """Note what is the same though it is another file, so that it is not read once more."""
        for path, there in self.there.items():
            pair, here = self.known.pairs.get(path), self.here.get(path)
            if here is not None and pair != (here, there) and self.is_same(path):
                self.known.pairs[path] = Pair(here, there)
        for path in [path for path in self.known.pairs if self._is_gone(path)]:
            del self.known.pairs[path]

    def remove_leftovers(self) -> None:
        for tree, path in self.leftovers:
            with suppress(OSError):
                tree.remove(path)

    def take_out_excluded(self) -> list[str]:
        """Take out of the copy what is excluded since, the deepest first, and what stood for what
        is excluded no longer. Returns what a sandbox has made something of, which stays."""
        kept = []
        for path in sorted(self.excluded_since, reverse=True):
            before = self.known.pairs.pop(path)
            with suppress(OSError):
                if _kept(self.copy.entry(path)) == _kept(before.copy):
                    self.copy.remove(path)
                else:
                    kept.append(path)
        for path in self.bare_covers:
            del self.known.covers[path]
            with suppress(OSError):
                self.copy.remove(path)
        return kept

    def cover_excluded(self) -> None:
        """Have something empty in the copy where something is excluded, for a mount to stand on."""
        for path, entry in self.excluded.items():
            kind: Kind = "directory" if entry.kind == "directory" else "file"
            with suppress(OSError):  # a sandbox has something else on the way there
                if (made := self.copy.make_empty(path, kind)) is not None:
                    self.known.covers[path] = made

    def _is_gone(self, path: str) -> bool:
        gone = path not in self.here and path not in self.there
        return gone and path not in self.excluded_since and self._is_known(path)

    def _paths(self, found: Mapping[str, Entry]) -> Iterator[str]:
        known = (path for path in self.known.pairs if path not in self.excluded_since)
        return (path for path in {*found, *known} if self._is_known(path))

    @cached_property
    def _closed(self) -> frozenset[str]:
        return frozenset(self.host.closed | self.copy.closed)

    def _is_known(self, path: str) -> bool:
        """Whether both sides could be looked at there."""
        if not self._closed:
            return True
        for tree, found in ((self.host, self.here), (self.copy, self.there)):
            if path in tree.closed and path not in found:
                return False
        while path := path.rpartition("/")[0]:
            if path in self._closed:
                return False
        return True

    def is_same(self, path: str) -> bool:
        """Whether the copy has what the project has."""
        here, there = self.here.get(path), self.there.get(path)
        if here is None or there is None:
            return here is there
        if here.kind != there.kind or here.target != there.target:
            return False
        if here.kind != "file":
            return here.kind != "special"
        if here.size != there.size or here.executable != there.executable:
            return False
        pair = self.known.pairs.get(path)
        if pair is not None and (_kept(pair.host), _kept(pair.copy)) == (_kept(here), _kept(there)):
            return True
        return same_content(path, self.host, self.copy, self.until)


def _kept(entry: Entry | None) -> object:
    """By what it is known to be unchanged. Programs set a file's time; nobody sets its ctime."""
    if entry is None or entry.kind == "directory":
        return entry and entry.kind
    return entry.kind, entry.size, entry.changed, entry.inode, entry.target


def words_of(entry: Entry) -> list[Any]:
    return [
        entry.kind,
        entry.mode,
        entry.size,
        entry.modified,
        entry.changed,
        entry.inode,
        entry.target,
    ]


def entry_of(words: Any) -> Entry:
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
