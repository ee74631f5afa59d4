"""What a launcher that is root does so that bubblewrap can run as the workspace's owner.

bubblewrap looks up the sources of its binds as that user, who may not pass a directory on the
way: an interpreter below /root, a workspace in somebody's 0700 home. Each such source is bound
to a place that the user can reach, in a mount namespace of the sandbox's own, so the host sees
nothing of it and nothing is left to be removed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from moat_nb.errors import StartError
from moat_nb.host.machine import User

__all__ = ["identity", "may_pass", "reachable", "stage"]

PLACE = "/sys"
"""Covered by a tmpfs, in that namespace only. No mount may have its source there (see
security.md) and no step of a start reads it, so it can hide nothing that is needed."""

_SCRIPT = f"""\
set -eu
mount -n -t tmpfs -o mode=0711,nosuid,nodev moat-stage {PLACE}
while [ "$1" != -- ]; do
  if [ -d "$2" ]; then mkdir "$1"; else : >"$1"; fi
  mount -n --rbind "$2" "$1"
  if [ "$(stat -c %d:%i "$1")" != "$3" ]; then
    echo "$2: was replaced while the sandbox started; start it again" >&2
    exit 1
  fi
  shift 3
done
shift
exec "$@"
"""


def stage(sources: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Where each source will stand, and the words in front of a command that put it there.

    The words need root. Both are empty when there are no sources.
    """
    places = {source: f"{PLACE}/{index}" for index, source in enumerate(dict.fromkeys(sources))}
    return places, _words(places) if places else ()


def _words(places: Mapping[str, str]) -> tuple[str, ...]:
    binds = [word for source, place in places.items() for word in (place, source, identity(source))]
    # slave: what the host unmounts later is not kept alive by the sandbox.
    unshare = ("unshare", "--mount", "--propagation", "slave", "--")
    return (*unshare, "sh", "-c", _SCRIPT, "moat-stage", *binds, "--")


def reachable(source: str, user: User) -> bool:
    """Whether ``user``, in no other group than its own, may pass all directories above it.

    By their mode bits; an access control list is not looked at.
    """
    return all(
        may_pass(parent.stat(), user)
        for path in (Path(source), Path(source).resolve())
        for parent in path.parents
    )


def may_pass(status: os.stat_result, user: User) -> bool:
    """Whether ``user`` may pass a directory of that ``status``."""
    if status.st_uid == user.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def identity(source: str, links: int = 40) -> str:
    """``device:inode`` of a source, following no link but root's own.

    The plan resolved every source; a link of anybody else's that stands in the way by now is an
    attempt to have root bind something else. Raises StartError.
    """
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    parts = PurePosixPath(source).parts
    opened = os.open("/", flags | os.O_DIRECTORY)
    try:
        for index, part in enumerate(parts[1:], start=1):
            below = os.open(part, flags, dir_fd=opened)
            os.close(opened)
            opened = below
            status = os.fstat(opened)
            if stat.S_ISLNK(status.st_mode):
                if status.st_uid != 0 or links == 0:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                link = os.readlink("", dir_fd=opened)
                further = Path(*parts[:index], link, *parts[index + 1 :])
                return identity(os.path.normpath(further), links - 1)
        status = os.fstat(opened)
    except OSError as error:
        raise StartError(
            f"{source}: cannot be bound: {error.strerror}; a link may have taken its place since "
            "the plan was made"
        ) from error
    finally:
        os.close(opened)
    return f"{status.st_dev}:{status.st_ino}"
