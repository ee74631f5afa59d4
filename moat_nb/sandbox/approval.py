"""Whether a person has approved what a file asks of the host; kept where no sandbox can write.

One record for each project directory has what was approved, or what was asked at the last start.
A start that asks the same or less goes on; one that asks more needs a person. A project without a
record is compared with what needs no approval, or, where a sandbox of another project could have
written it, with that project's record.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from moat_nb.config.model import Config
from moat_nb.errors import ApprovalNeeded, MoatError
from moat_nb.host.file_identity import Identity, identity, is_still
from moat_nb.host.whole_file import write_whole
from moat_nb.planning.mounts import is_within
from moat_nb.planning.secret_places import secret_place
from moat_nb.sandbox.demands import Demand, difference
from moat_nb.sandbox.permissions import (
    KERNELS,
    Permissions,
    as_words,
    of_plan,
    of_words,
    own_project,
)
from moat_nb.sandbox.project import LaunchPlan
from moat_nb.sandbox.workspace import writable
from moat_nb.text.terminal import LOGGER

__all__ = ["Approve", "Record", "Records", "check", "check_again", "demands", "forget_excludes"]

Approve = Callable[[tuple[Demand, ...]], bool]
"""Asks a person whether a file may have these."""


MOST_WRITTEN = 100
"""Directories that are remembered of one project."""


class Written(NamedTuple):
    """A directory that a sandbox could write to."""

    path: str
    identity: Identity | None


@dataclass(frozen=True, kw_only=True)
class Record:
    project: str
    """The directory of moat.yaml, without a link in it."""
    permissions: Permissions
    written: tuple[Written, ...] = ()
    """What its sandboxes could ever write to, the latest last."""


class Records:
    """What is kept, below a user's data directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, project: str) -> Record | None:
        return self._read(self._file(project))

    def __iter__(self) -> Iterator[Record]:
        """By project. Those that cannot be read are told of, and left out."""
        found = []
        for file in self._directory.glob("*.json"):  # none of a directory that cannot be read
            try:
                found.append(self._read(file))
            except MoatError as error:
                LOGGER.warning("%s", error)
        yield from sorted((one for one in found if one), key=lambda record: record.project)

    def remove_gone(self) -> Iterator[str]:
        """Remove the records of directories that are there no longer, and say whose they were."""
        for record in self:
            try:
                Path(record.project).stat()
            except (FileNotFoundError, NotADirectoryError):
                self.remove(record.project)
                yield record.project
            except OSError:
                continue  # it may be there

    def write(self, record: Record) -> None:
        """Replace the project's record at once; nobody else may read or write it. MoatError."""
        try:
            self._write(record)
        except OSError as error:
            words = f"the approval of {record.project} cannot be kept: {error}"
            raise MoatError(words) from error

    def _write(self, record: Record) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._file(record.project)
        words = {
            "project": record.project,
            "permissions": as_words(record.permissions),
            "written": record.written,
        }
        write_whole(file, json.dumps(words, indent=1))

    def remove(self, project: str) -> bool:
        """Whether there was one."""
        try:
            self._file(project).unlink()
        except FileNotFoundError:
            return False
        return True

    def _file(self, project: str) -> Path:
        name = hashlib.sha256(os.fsencode(project)).hexdigest()[:32]
        return self._directory / f"{name}.json"

    @staticmethod
    def _read(file: Path) -> Record | None:
        try:
            words: Any = json.loads(file.read_bytes())
            permissions = of_words(words["permissions"])
            written = tuple(map(_written_of, words.get("written", ())))
            return Record(project=str(words["project"]), permissions=permissions, written=written)
        except (FileNotFoundError, NotADirectoryError):
            return None  # as for a user without a home: nothing was ever kept
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, PermissionError) and not os.access(file.parent, os.X_OK):
                return None  # as another user's home
            # To go on as if nothing had been approved would be to trust the file anew.
            raise MoatError(
                f"{file}: what was approved cannot be read ({type(error).__name__}: {error}); "
                "remove it, and run `moat-nb allow` in the project"
            ) from None


def check(
    plan: LaunchPlan, approve: Approve | None = None, *, keys: tuple[str, ...] = ()
) -> Permissions:
    """Before anything of ``plan`` is started or built: raises ApprovalNeeded, unless its file asks
    no more than was approved, or ``approve`` has a person approve the rest.

    ``keys`` are the sources that the person has named though keys or passwords are kept there;
    another one is not asked for. What is asked now is kept, for the next start to be compared with,
    and returned.
    """
    records, project = _records(plan), _project(plan.file)
    asked = of_plan(plan)
    new = _demands(asked, project, records)
    found = dict.fromkeys(d.source for d in new if secret_place(d.source, plan.host.home))
    unnamed = tuple(source for source in found if source not in keys)
    if new and (unnamed or approve is None or not approve(new)):
        raise ApprovalNeeded(project, tuple(map(str, new)), unnamed)
    written = _written(plan, records.read(project))
    _keep(records, Record(project=project, permissions=asked, written=written), needed=bool(new))
    return asked


def check_again(plan: LaunchPlan, approved: Permissions) -> None:
    """Before another start of a file of which :func:`check` returned ``approved``: raises
    ApprovalNeeded when it has come to mean more, as where a link now leads elsewhere. Asks nobody
    and keeps nothing, as the project may have another file by now."""
    if new := difference(of_plan(plan), approved):
        raise ApprovalNeeded(_project(plan.file), tuple(map(str, new)))


def demands(plan: LaunchPlan) -> tuple[Demand, ...]:
    """What a start of ``plan`` would need an approval of."""
    return _demands(of_plan(plan), _project(plan.file), _records(plan))


def forget_excludes(approvals: Path, before: Config, after: Config) -> None:
    """A person has changed the excludes of a file from those of ``before`` to those of ``after``:
    what was taken away is approved, and nothing else of the file."""
    records = Records(approvals)
    record = records.read(_project(before))
    if record is None:
        return
    kept = {mount.target: {e.pattern for e in mount.exclude} for mount in after.mounts}
    mounts = list(record.permissions.mounts)
    for mount in before.mounts:
        source = os.path.realpath(mount.source)
        patterns = {e.pattern for e in mount.exclude} - kept.get(mount.target, set())
        gone = {f"{source.rstrip('/')}/{pattern}" for pattern in patterns}
        mounts = [
            replace(seen, excludes=tuple(e for e in seen.excludes if e not in gone))
            if seen.by == KERNELS and seen.source == source
            else seen
            for seen in mounts
        ]
    permissions = replace(record.permissions, mounts=tuple(mounts))
    if permissions != record.permissions:
        records.write(replace(record, permissions=permissions))


def _demands(asked: Permissions, project: str, records: Records) -> tuple[Demand, ...]:
    record = records.read(project)
    known = [record] if record else list(_writers(project, records))
    granted = [one.permissions for one in known] or [own_project(project, asked)]
    return tuple(dict.fromkeys(new for one in granted for new in difference(asked, one)))


def _writers(project: str, records: Records) -> Iterator[Record]:
    """The records of all projects whose sandboxes could ever write to ``project``: any may have
    written its file, so the file must ask for no more than each of them has."""
    above = {identity(path) for path in (project, *map(str, Path(project).parents))} - {None}
    for record in records:
        paths = (seen.source for seen in record.permissions.mounts if seen.writable)
        moved = any(known in above for _, known in record.written)
        if moved or is_within(project, *paths, *(path for path, _ in record.written)):
            yield record


def _written(plan: LaunchPlan, before: Record | None) -> tuple[Written, ...]:
    """What its sandboxes could write to until now, and what this one can, whoever asked for it."""
    found = dict.fromkeys(before.written if before is not None else ())
    for path in writable(plan):
        if not any(one.path == path and is_still(path, one.identity) for one in found):
            found[Written(path, identity(path))] = None
    return tuple(found)[-MOST_WRITTEN:]


def _written_of(words: Any) -> Written:
    path, known = words
    return Written(str(path), None if known is None else Identity(*map(int, known)))


def _keep(records: Records, record: Record, *, needed: bool) -> None:
    try:
        if records.read(record.project) != record:
            records.write(record)
    except MoatError as error:
        if needed:
            raise
        # A home that cannot be written: every start is a first one, and asks as that does.
        LOGGER.info("%s", error)


def _records(plan: LaunchPlan) -> Records:
    return Records(plan.host.approvals)


def _project(file: Config) -> str:
    return os.path.realpath(file.directory)
