"""Making the mount points that are missing on the host, before an engine makes them as root."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from moat_nb.errors import StartError
from moat_nb.host.machine import User
from moat_nb.host.reaper import LOOK_ONLY, Janitor
from moat_nb.host.run_directory import Made, Note, RunDir, notes
from moat_nb.planning.mount_paths import covered
from moat_nb.planning.mounts import MountPlan, MountPoint

__all__ = ["make_mount_points"]

_DIRECTORY = LOOK_ONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_mount_points(
    plans: Sequence[tuple[MountPlan, User]], janitor: Janitor, run_dir: RunDir, note: Note
) -> None:
    """Make each missing mount point as the user of the first plan, the kernel's, and have the
    janitor remove it at the end; a volume's directory is made as its own plan's user.

    What another sandbox of the project made, and this one needs, is removed by whichever ends
    last; for that it all stands in the sandboxes' notes, this one's ``note`` among them.

    Raises StartError when a directory cannot be written, or when something stands in the way
    that was not there when the plan was made. No link is followed: the plan refused links, and
    one that appeared since is somebody's attempt.
    """
    _, owner = plans[0]
    for directory, user in ((directory, user) for plan, user in plans for directory in plan.keep):
        try:
            _keep(directory, user)
        except OSError as error:
            raise StartError(
                f"{directory}: cannot make the volume's directory: {error.strerror}; "
                "make it yourself, or set XDG_DATA_HOME to where you can"
            ) from error
    # Written before the others are read: of two that meet here each sees the other.
    covers = (point for plan, _ in plans for point in covered(plan))
    note = replace(note, covers=tuple(dict.fromkeys(covers)))
    run_dir.write_note(note)
    made = _adopt(note, run_dir, janitor)
    for point in dict.fromkeys(point for plan, _ in plans for point in plan.missing):
        try:
            made += _make(point, owner, janitor, str(run_dir.note))
        except OSError as error:
            raise StartError(
                f"{point.root}/{point.relative}: cannot make the mount point: {error.strerror}; "
                "make it yourself, or take it out of moat.yaml"
            ) from error
    run_dir.write_note(replace(note, made=tuple(made)))


def _adopt(note: Note, run_dir: RunDir, janitor: Janitor) -> list[Made]:
    """What other sandboxes made of what this one covers, each once: those who adopted it before
    have it in their notes too."""
    adopted: dict[Made, None] = {}
    for other, their in notes(run_dir.path.parent):
        for made in their.made if their is not None and other != run_dir else ():
            path = f"{made.root}/{made.relative}/"
            if any(f"{point}/".startswith(path) for point in note.covers):
                adopted[made] = None
    for made in adopted:
        inode = (made.device, made.inode)
        janitor.mount_point(made.root, made.relative, inode, str(run_dir.note))
    return list(adopted)


def _keep(directory: str, owner: User) -> None:
    Path(directory).mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        os.chown(directory, owner.uid, owner.gid)


def _make(point: MountPoint, owner: User, janitor: Janitor, note: str) -> list[Made]:
    made = []
    parts = point.relative.split("/")
    directory = os.open(point.root, _DIRECTORY & ~os.O_NOFOLLOW)
    try:
        for depth, name in enumerate(parts, start=1):
            kind = point.kind if depth == len(parts) else "directory"
            relative = "/".join(parts[:depth])
            if not _exists(name, directory):
                janitor.mount_point(point.root, relative, None, note)
                inode = _make_one(name, kind, directory, owner)
                janitor.mount_point(point.root, relative, inode, note)
                made.append(Made(point.root, relative, *inode))
            if kind == "directory":
                below = os.open(name, _DIRECTORY, dir_fd=directory)
                os.close(directory)
                directory = below
    finally:
        os.close(directory)
    return made


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _make_one(name: str, kind: str, directory: int, owner: User) -> tuple[int, int]:
    """The device and inode of what was made; (0, 0) when somebody else was quicker."""
    try:
        if kind == "directory":
            os.mkdir(name, 0o755, dir_fd=directory)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o644, dir_fd=directory))
    except FileExistsError:
        return 0, 0
    if os.getuid() == 0:
        os.chown(name, owner.uid, owner.gid, dir_fd=directory, follow_symlinks=False)
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return status.st_dev, status.st_ino
