"""The copy of a project on another machine's engine, in a volume that outlasts its sandboxes.

The tree that :class:`WorkspaceCopy` keeps here is what that volume held when it was last looked at.
A start brings into it what sandboxes did there since, and what the project changed, and sends what
is new. All that comes from there is a sandbox's.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from moat_nb.errors import MoatError
from moat_nb.host.cleanup import remove_tree
from moat_nb.host.machine import User
from moat_nb.host.whole_file import write_whole
from moat_nb.planning.elsewhere import workspace_volume
from moat_nb.planning.walk import Budget, Over
from moat_nb.runtimes.base import Runtime, Volumes
from moat_nb.sandbox.archive import pack, unpack
from moat_nb.sandbox.comparison import MAX_ENTRIES, Skipped
from moat_nb.sandbox.tree import Entry, Tree, same_content
from moat_nb.sandbox.workspace_copy import WorkspaceCopy
from moat_nb.text.progress import Progress, Silent

__all__ = ["WorkspaceElsewhere"]

PLACE = "workspace"
"""The directory at the top of each archive."""

BUSY = (
    "workspace: another sandbox works on the copy at {where}: what you changed here since comes "
    "with a start when none does"
)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What is known of the volume."""

    token: str
    """What it was made with: another one of its name is not ours."""
    entries: Mapping[str, Entry]
    """The tree's, when it held the same."""


@dataclass(frozen=True, kw_only=True)
class WorkspaceElsewhere:
    """Methods raise MoatError."""

    copy: WorkspaceCopy
    volumes: Volumes
    where: str
    """How to name the machine."""

    @classmethod
    def of(cls, copy: WorkspaceCopy | None, runtime: Runtime) -> WorkspaceElsewhere | None:
        """None where the copy is on this machine, or there is none."""
        where = runtime.capabilities.elsewhere
        if copy is None or not where:
            return None
        return cls(copy=copy, volumes=runtime.volumes, where=where)

    @property
    def volume(self) -> str:
        return workspace_volume(str(self.copy.source))

    def prepare(self, progress: Progress) -> tuple[str, ...]:
        """Have the volume hold what a start there is to see; returns what it is to say."""
        with self.copy.locked("elsewhere"):
            sent = self._sent()
            if sent is not None and self.volumes.in_use(self.volume):
                return (BUSY.format(where=self.where),)
            if sent is not None:
                sent = self._fetch(sent, progress)
            words = self.copy.refresh(progress)
            self._send(sent, progress)
        return words

    def fetch(self) -> None:
        """Bring into the tree what sandboxes did there."""
        with self.copy.locked("elsewhere"):
            if (sent := self._sent()) is not None:
                self._fetch(sent, Silent())

    def discard(self) -> None:
        """Remove the volume."""
        with self.copy.locked("elsewhere"):
            self._mark.unlink(missing_ok=True)
            self.volumes.remove(self.volume)

    @property
    def in_use(self) -> bool:
        return self.volumes.in_use(self.volume)

    # -------- what is kept

    @property
    def _mark(self) -> Path:
        return self.copy.directory / "sent.json"

    def _sent(self) -> Sent | None:
        """None where the volume is not whole, or not ours."""
        try:
            words = json.loads(self._mark.read_bytes())
            entries = {path: Entry(**entry) for path, entry in words["entries"].items()}
            sent = Sent(token=str(words["token"]), entries=entries)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return sent if self.volumes.token(self.volume) == sent.token else None

    def _write(self, token: str, tree: Tree) -> Sent:
        sent = Sent(token=token, entries=_entries(tree))
        entries = {path: asdict(entry) for path, entry in sent.entries.items()}
        write_whole(self._mark, json.dumps({"token": token, "entries": entries}))
        return sent

    # -------- there and back

    def _send(self, sent: Sent | None, progress: Progress) -> None:
        with Tree(self.copy.tree) as tree:
            now = _entries(tree)
            known = {} if sent is None else sent.entries
            new = {path: entry for path, entry in now.items() if known.get(path) != entry}
            # An archive can replace a file, and neither remove one nor make another kind of it.
            gone = any(path not in now or now[path].kind != known[path].kind for path in known)
            if sent is not None and not new and not gone:
                return
            self._mark.unlink(missing_ok=True)
            token = secrets.token_hex(8)
            if sent is None or gone:
                self.volumes.remove(self.volume)
                self.volumes.make(self.volume, token)
                new = now
            else:
                token = sent.token
            progress.stage(f"copying {self.copy.source} to {self.where}")
            done = iter(range(1, len(new) + 1))
            owner = self.copy.owner or User(os.getuid(), os.getgid())
            packed = pack(tree, new, PLACE, owner, lambda: progress.update(next(done), len(new)))
            try:
                self.volumes.put(self.volume, packed)
            except OSError as error:
                raise MoatError(f"the copy of {self.copy.source}: {error}") from error
            self._write(token, tree)

    def _fetch(self, sent: Sent, progress: Progress) -> Sent:
        incoming = self.copy.directory / "incoming"
        progress.stage(f"bringing back what changed at {self.where}")
        if incoming.is_dir():
            remove_tree(str(incoming))
        incoming.mkdir(mode=0o700)
        try:
            with self.volumes.get(self.volume) as archive:
                unpack(archive, PLACE, incoming)
            with Tree(incoming) as there, Tree(self.copy.tree, self.copy.owner) as tree:
                self._take_over(there, tree)
                return self._write(sent.token, tree)
        except OSError as error:
            raise MoatError(f"the copy of {self.copy.source} at {self.where}: {error}") from error
        finally:
            remove_tree(str(incoming))

    def _take_over(self, there: Tree, tree: Tree) -> None:
        """Have the tree hold what the volume does; what is mounted over it is not of it."""
        skipped = Skipped(patterns=self.copy.patterns, mounted=self.copy.mounted)
        new, old = _entries(there, skipped), _entries(tree, skipped)
        until = time.monotonic() + self.copy.seconds
        for path in sorted(old.keys() - new.keys(), reverse=True):
            tree.bring(path, there, None, old[path])
        for path in sorted(new):
            wanted, here = new[path], old.get(path)
            if not (here is not None and _is_same(path, wanted, here, there, tree, until)):
                tree.bring(path, there, wanted, tree.entry(path))


def _is_same(path: str, one: Entry, other: Entry, there: Tree, tree: Tree, until: float) -> bool:
    if one.kind != other.kind or one.target != other.target or one.executable != other.executable:
        return False
    return one.kind != "file" or same_content(path, there, tree, until)


def _entries(tree: Tree, skipped: Skipped | None = None) -> dict[str, Entry]:
    is_skipped = (lambda path: False) if skipped is None else skipped.asked()
    budget = Budget(entries=MAX_ENTRIES, seconds=float("inf"))
    try:
        found = {path: entry for path, entry, skip in tree.entries(is_skipped, budget) if not skip}
    except Over:
        raise MoatError(f"{tree.top} has more files than can be looked at") from None
    return {path: entry for path, entry in found.items() if path not in tree.closed}
