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
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from moat_nb.errors import MoatError
from moat_nb.host.cleanup import remove_tree
from moat_nb.host.machine import Host, User
from moat_nb.host.whole_file import write_whole
from moat_nb.planning.elsewhere import ID, WHERE, workspace_volume
from moat_nb.planning.walk import Budget, Over
from moat_nb.planning.workspace_copy import directory_of
from moat_nb.runtimes.base import ARCHIVE_TOP, Runtime, Volumes
from moat_nb.sandbox.archive import pack, unpack
from moat_nb.sandbox.comparison import MAX_ENTRIES, entry_of, words_of
from moat_nb.sandbox.tree import Entry, Tree, same_content
from moat_nb.sandbox.workspace_copy import WorkspaceCopy
from moat_nb.text.progress import Progress, Silent
from moat_nb.text.terminal import one_line

__all__ = ["WorkspaceElsewhere", "copies_elsewhere"]

BUSY = (
    "workspace: another sandbox works on the copy at {where}: what you changed here since comes "
    "with a start when none does"
)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What is known of the volume."""

    token: str
    """What it was made with; one that is not labelled so is not what was sent."""
    whole: bool = True
    """It holds what a start left there and sandboxes made of it; else a start is bringing the
    project's changes into the tree, or did not come to its end, and the tree alone counts."""
    entries: Mapping[str, Entry] = field(default_factory=dict)
    """The tree's, when the volume held the same."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """What is there and could not be brought here, and why."""


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
        return workspace_volume(self.copy.directory)

    def prepare(self, progress: Progress) -> tuple[str, ...]:
        """Have the volume hold what a start there is to see; returns what it is to say."""
        with self.copy.locked("elsewhere"):
            self._have_id()
            sent = self._sent()
            if sent is not None and sent.whole:
                if self.in_use:
                    self._refuse(self.copy.files_excluded_since())
                    return (BUSY.format(where=self.where),)
                sent = self._fetch(sent, progress)
                changed = self.copy.files_excluded_since().items()
                self._refuse([path for path, by_sandbox in changed if by_sandbox])
            if sent is not None:
                # From here on the tree has what the volume has not: nothing comes from there.
                self._write(replace(sent, whole=False))
            words = self.copy.refresh(progress)
            with Tree(self.copy.tree) as tree:
                entries = _entries(tree)
            failed = self._send(sent, entries, progress)
        return (*words, *(f"workspace: {each}" for each in failed))

    def fetch(self, progress: Progress | None = None) -> tuple[str, ...]:
        """Bring into the tree what sandboxes did there; returns what could not be brought."""
        with self.copy.locked("elsewhere"):
            sent = self._sent()
            if sent is None or not sent.whole:
                return ()
            return _told(self._fetch(sent, progress or Silent()).failed)

    def discard(self) -> None:
        """As of the copy here, with the volume there."""
        with self.copy.locked("elsewhere"):
            self.volumes.remove(self.volume)
            for path in (self._mark, self.copy.directory / WHERE):
                path.unlink(missing_ok=True)
            self.copy.discard()

    @property
    def in_use(self) -> bool:
        return self.volumes.in_use(self.volume)

    def _refuse(self, excluded: Collection[str]) -> None:
        """No engine can cover a file there, so none of the project's that is excluded may be in the
        copy."""
        for path in excluded:
            raise MoatError(
                f"{one_line(path)} is excluded, and the copy at {self.where} has had it since "
                "before: stop the sandboxes that run there, `moat-nb pull` what you want of the "
                "copy, then `moat-nb discard`"
            )

    # -------- what is kept

    def _have_id(self) -> None:
        """Whoever uses the same engine, from here or elsewhere, has another name for its copy."""
        for name, text in ((WHERE, self.where), (ID, secrets.token_hex(8))):
            if not (self.copy.directory / name).exists():
                write_whole(self.copy.directory / name, text)

    @property
    def _mark(self) -> Path:
        return self.copy.directory / "sent.json"

    def _sent(self) -> Sent | None:
        """None where there is no volume that we have made."""
        try:
            words = json.loads(self._mark.read_bytes())
            entries = {path: entry_of(entry) for path, entry in words.pop("entries").items()}
            sent = Sent(entries=entries, **words)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return sent if self.volumes.token(self.volume) == sent.token else None

    def _write(self, sent: Sent) -> Sent:
        entries = {path: words_of(entry) for path, entry in sent.entries.items()}
        words = {"token": sent.token, "whole": sent.whole, "failed": dict(sent.failed)}
        write_whole(self._mark, json.dumps({**words, "entries": entries}))
        return sent

    # -------- there and back

    def _send(
        self, sent: Sent | None, now: Mapping[str, Entry], progress: Progress
    ) -> tuple[str, ...]:
        """Have the volume hold ``now``, the tree's; returns what is there and not here."""
        known = {} if sent is None else sent.entries
        new = {path: entry for path, entry in now.items() if known.get(path) != entry}
        # An archive can replace a file, and neither remove one nor make another kind of it.
        gone = any(path not in now or now[path].kind != known[path].kind for path in known)
        if sent is None or gone or not sent.whole:
            if sent is not None and sent.failed:
                path, why = next(iter(sent.failed.items()))
                raise MoatError(
                    f"{one_line(path)} is in the copy at {self.where} and cannot be brought here "
                    f"({one_line(why)}), so the copy cannot be made anew: have a sandbox remove "
                    "it, or `moat-nb discard`"
                )
            self.volumes.remove(self.volume)
            sent = self._write(Sent(token=secrets.token_hex(8), whole=False))
            self.volumes.make(self.volume, sent.token)
            new = {**now}
        if new:
            progress.stage(f"copying {self.copy.source} to {self.where}")
            self._put(new, progress)
        self._write(replace(sent, whole=True, entries=now))
        return _told(sent.failed)

    def _put(self, new: Mapping[str, Entry], progress: Progress) -> None:
        done = iter(range(1, len(new) + 1))
        owner = self.volumes.owner(self.copy.owner or User(os.getuid(), os.getgid()))
        with Tree(self.copy.tree) as tree:
            packed = pack(
                tree, new, ARCHIVE_TOP, owner, lambda: progress.update(next(done), len(new))
            )
            try:
                self.volumes.put(self.volume, packed)
            except OSError as error:
                raise MoatError(f"the copy of {self.copy.source}: {error}") from error

    def _fetch(self, sent: Sent, progress: Progress) -> Sent:
        incoming = self.copy.directory / "incoming"
        progress.stage(f"bringing back what changed at {self.where}")
        try:
            if incoming.is_dir():
                remove_tree(str(incoming))
            incoming.mkdir(mode=0o700)
            with self.volumes.get(self.volume) as archive:
                failed = unpack(archive, ARCHIVE_TOP, incoming)
            with Tree(incoming) as there, Tree(self.copy.tree, self.copy.owner) as tree:
                failed |= self._take_over(there, tree, failed)
                entries = _entries(tree)
        except OSError as error:
            raise MoatError(f"the copy of {self.copy.source} at {self.where}: {error}") from error
        finally:
            if incoming.is_dir():
                remove_tree(str(incoming))
        return self._write(replace(sent, entries=entries, failed=failed))

    def _take_over(self, there: Tree, tree: Tree, missing: Mapping[str, str]) -> dict[str, str]:
        """Have the tree hold what the volume does, but for what is ``missing`` of that. Returns
        what could not be done, and why."""
        new, old = _entries(there), _entries(tree)
        until = time.monotonic() + self.copy.seconds
        failed: dict[str, str] = {}
        kept = {*new, *missing}
        gone = [path for path in sorted(old, reverse=True) if path not in kept]
        for path in (*gone, *sorted(new)):
            wanted, here = new.get(path), old.get(path)
            if wanted and here and _is_same(path, wanted, here, there, tree, until):
                continue
            try:
                tree.bring(path, there, wanted, tree.entry(path))
            except OSError as error:
                failed[path] = error.strerror or str(error)
        return failed


def copies_elsewhere(source: Path, host: Host) -> tuple[str, ...]:
    """The addresses of the engines where a directory has copies."""
    found = host.workspaces.glob(f"{directory_of(source, host).name}-*/{WHERE}")
    return tuple(sorted(one_line(path.read_text()) for path in found))


def _told(failed: Mapping[str, str]) -> tuple[str, ...]:
    if not failed:
        return ()
    path, why = next(iter(failed.items()))
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return (one_line(f"{path}{more} stays there and cannot be brought here: {why}"),)


def _is_same(path: str, one: Entry, other: Entry, there: Tree, tree: Tree, until: float) -> bool:
    if one.kind != other.kind or one.target != other.target or one.executable != other.executable:
        return False
    return one.kind != "file" or same_content(path, there, tree, until)


def _entries(tree: Tree) -> dict[str, Entry]:
    budget = Budget(entries=MAX_ENTRIES, seconds=float("inf"))
    try:
        found = {path: entry for path, entry, _ in tree.entries(lambda path: False, budget)}
    except Over:
        raise MoatError(
            f"{tree.top} has more files, or deeper directories, than can be looked at: have a "
            "sandbox remove them, or `moat-nb discard`"
        ) from None
    return {path: entry for path, entry in found.items() if path not in tree.closed}
