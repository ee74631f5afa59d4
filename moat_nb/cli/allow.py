"""`moat-nb allow`: what a project's moat.yaml may have of this machine; and the question of a
terminal where a start needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from moat_nb.cli.user_terminal import asked, is_there
from moat_nb.config.file import find
from moat_nb.errors import ApprovalNeeded, ConfigError, MoatError
from moat_nb.host.machine import Host
from moat_nb.sandbox import approval
from moat_nb.sandbox.approval import Approve, Records
from moat_nb.sandbox.demands import Demand
from moat_nb.sandbox.permissions import Permissions
from moat_nb.sandbox.project import plan_project
from moat_nb.text.terminal import one_line

__all__ = ["allow", "on_terminal", "revoke", "show"]


def allow(directory: str, *, yes: bool, keys: Sequence[str] = ()) -> int:
    """Show once what the file asks beyond what was approved, have it approved, and keep that.

    ``yes`` asks nobody. Raises ApprovalNeeded where nobody can be asked, and for keys that are not
    among ``keys``.
    """
    plan = plan_project(directory)
    if not approval.demands(plan):
        print("nothing to approve: it asks no more than was approved, or than every project has")
        return 0
    paths = tuple(os.path.realpath(Path(path).expanduser()) for path in keys)
    approve = _yes if yes else on_terminal()
    try:
        approval.check(plan, approve, keys=paths)
    except ApprovalNeeded as error:
        if approve is not None:
            raise
        raise ApprovalNeeded(error.project, error.asked, error.keys, unasked=True) from None
    print("approved")
    return 0


def _yes(new: Sequence[Demand]) -> bool:
    _print(new, sys.stdout)
    return True


def on_terminal() -> Approve | None:
    """Asks whoever sits at the terminal; None where nobody does."""
    if not is_there():
        return None

    def approve(new: Sequence[Demand]) -> bool:
        print("moat-nb: this moat.yaml asks for what nobody has approved:", file=sys.stderr)
        _print(new, sys.stderr)
        return asked("allow this?")

    return approve


def _print(new: Sequence[Demand], stream: TextIO) -> None:
    for demand in new:
        print(f"  {one_line(str(demand))}", file=stream)


def show() -> int:
    """Print what is kept, by project."""
    for record in _records():
        print(one_line(record.project))
        for line in _lines(record.permissions):
            print(f"  {one_line(line)}")
    return 0


def revoke(directory: str) -> int:
    """Forget what was approved for a project, whose file may be gone."""
    project = os.path.realpath(_directory(directory))
    if not _records().remove(project):
        raise MoatError(f"{project}: nothing was approved there; `moat-nb allow --list` lists all")
    print(f"revoked: {project}")
    return 0


def _directory(directory: str) -> Path:
    try:
        return find(Path(directory)).parent
    except ConfigError:
        return Path(directory)


def _records() -> Records:
    return Records(Host.current().approvals)


def _lines(permissions: Permissions) -> list[str]:
    lines = []
    for mount in permissions.mounts:
        hidden = f", without {', '.join(mount.excludes)}" if mount.excludes else ""
        lines.append(f"mount {mount}{hidden}")
    lines.append("; ".join((f"network {permissions.policy}", *permissions.rules)))
    lines += [f"limit {name} {value:g}" for name, value in permissions.limits]
    lines += [f"{kind} {which}" for kind, which in permissions.others]
    return lines
