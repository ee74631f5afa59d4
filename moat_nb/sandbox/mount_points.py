"""Making the mount points that are missing on the host, before an engine makes them as root."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from moat_nb.errors import StartError
from moat_nb.host.cleanup import LOOK_ONLY
from moat_nb.host.machine import User
from moat_nb.host.reaper import Reaper
from moat_nb.host.run_directory import Made, RunDir, SandboxState, sandbox_states
from moat_nb.planning.mount_paths import covered
from moat_nb.planning.mounts import MountPlan, MountPoint

__all__ = ["make_mount_points"]

_DIRECTORY = LOOK_ONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_mount_points(
    plans: Sequence[tuple[MountPlan, User]],
    reaper: Reaper,
    run_dir: RunDir,
    sandbox_state: SandboxState,
) -> None:
    """Make each missing mount point as the user of the first plan, the kernel's, and have the
    reaper remove it at the end; a volume's directory is made as its own plan's user.

    What another sandbox of the project made, and this one needs, is removed by whichever ends
    last; for that it all stands in the sandboxes' notes, this one's ``sandbox_state`` among them.

    Raises StartError when a directory cannot be written, or when something stands in the way
    that was not there when the plan was made. No link is followed: the plan refused links, and
    one that appeared since is somebody's attempt.
    """
    _, owner = plans[0]
    private = {directory for plan, _ in plans for directory in plan.private}
    for directory, user in ((directory, user) for plan, user in plans for directory in plan.keep):
        try:
            _keep(directory, user, private=directory in private)
        except OSError as error:
            raise StartError(
                f"{directory}: cannot make the volume's directory: {error.strerror}; "
                "make it yourself, or set XDG_DATA_HOME to where you can"
            ) from error
    # Written before the others are read: of two that meet here each sees the other.
    covers = (point for plan, _ in plans for point in covered(plan))
    sandbox_state = replace(sandbox_state, covers=tuple(dict.fromkeys(covers)))
    run_dir.write_state(sandbox_state)
    made = _adopt(sandbox_state, run_dir, reaper)
    for point in dict.fromkeys(point for plan, _ in plans for point in plan.missing):
        try:
            made += _make(point, owner, reaper, str(run_dir.state_file))
        except OSError as error:
            raise StartError(
                f"{point.root}/{point.relative}: cannot make the mount point: {error.strerror}; "
                "make it yourself, or take it out of moat.yaml"
            ) from error
    run_dir.write_state(replace(sandbox_state, made=tuple(made)))


def _adopt(sandbox_state: SandboxState, run_dir: RunDir, reaper: Reaper) -> list[Made]:
    """What other sandboxes made of what this one covers, each once: those who adopted it before
    have it in their notes too."""
    adopted: dict[Made, None] = {}
    for other, their in sandbox_states(run_dir.path.parent):
        for made in their.made if their is not None and other != run_dir else ():
            path = f"{made.root}/{made.relative}/"
            if any(f"{point}/".startswith(path) for point in sandbox_state.covers):
                adopted[made] = None
    for made in adopted:
        inode = (made.device, made.inode)
        reaper.mount_point(made.root, made.relative, inode, str(run_dir.state_file))
    return list(adopted)


def _keep(directory: str, owner: User, *, private: bool) -> None:
    # Of the directories above only the owner has use: a login's token may lie in a cache.
    Path(directory).parent.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
    Path(directory).mkdir(mode=0o700 if private else 0o777, exist_ok=True)
    if os.getuid() == 0:
        os.chown(directory, owner.uid, owner.gid)


def _make(point: MountPoint, owner: User, reaper: Reaper, sandbox_state: str) -> list[Made]:
    made = []
    parts = point.relative.split("/")
    directory = os.open(point.root, _DIRECTORY & ~os.O_NOFOLLOW)
    try:
        for depth, name in enumerate(parts, start=1):
            kind = point.kind if depth == len(parts) else "directory"
            relative = "/".join(parts[:depth])
            if not _exists(name, directory):
                reaper.mount_point(point.root, relative, None, sandbox_state)
                inode = _make_one(name, kind, directory, owner)
                reaper.mount_point(point.root, relative, inode, sandbox_state)
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
