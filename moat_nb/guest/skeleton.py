"""What the image's build left in HOME, copied into the sandbox's own HOME before anything runs.

Large files are not: what is over the limit is a link to the image's, which can be read and not
written.
"""

from __future__ import annotations

import os
import sys
from typing import AbstractSet, Iterator

from .mountinfo import mount_table

BYTES = 64 << 20
"""Of all that is copied; it is part of the sandbox's memory, and a start waits for it."""
ENTRIES = 20_000
DEEPEST = 100
"""What is below so many directories is linked."""
OWNER = 0o700
"""The mode's bits that count: all in the sandbox is one user's. In the image the others' are what
the owner's are, as the build was another user's."""


def fill(source: str, target: str, ways: AbstractSet[str]) -> None:
    """Copy ``source`` into ``target``, and into no other mount below it than ``ways``. What is
    there already stays."""
    space = os.statvfs(target)
    room = min(BYTES, space.f_bavail * space.f_frsize // 2)
    _Copy(room, set(mount_table()) - ways).directory(source, target)


class _Copy:
    def __init__(self, room: int, mounts: AbstractSet[str]) -> None:
        self.room = room
        self.entries = ENTRIES
        self.mounts = mounts

    def directory(self, source: str, target: str) -> None:
        for entry in _entries(source):
            place = os.path.join(target, entry.name)
            self.entries -= 1
            try:
                self.entry(entry, place)
            except OSError:
                continue  # no room, or nothing that this user can read

    def entry(self, entry: "os.DirEntry[str]", place: str) -> None:
        there = os.path.lexists(place)
        if entry.is_dir(follow_symlinks=False):
            if not there and (self.entries <= 0 or place.count("/") > DEEPEST):
                os.symlink(entry.path, place)
            elif place not in self.mounts and (not there or not os.path.islink(place)):
                os.makedirs(place, mode=OWNER, exist_ok=True)
                self.directory(entry.path, place)
        elif there:
            return
        elif entry.is_symlink():
            os.symlink(os.readlink(entry.path), place)
        elif entry.is_file(follow_symlinks=False):
            self.file(entry, place)

    def file(self, entry: "os.DirEntry[str]", place: str) -> None:
        import shutil

        status = entry.stat(follow_symlinks=False)
        if self.entries <= 0 or status.st_size > self.room:
            os.symlink(entry.path, place)
            return
        self.room -= status.st_size
        shutil.copyfile(entry.path, place)
        os.chmod(place, status.st_mode & OWNER)
        os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))


def _entries(source: str) -> Iterator["os.DirEntry[str]"]:
    """Small files first: what is linked in the end is what is large."""
    try:
        entries = list(os.scandir(source))
    except OSError:
        return iter(())
    return iter(sorted(entries, key=lambda entry: (_size(entry), entry.name)))


def _size(entry: "os.DirEntry[str]") -> int:
    if not entry.is_file(follow_symlinks=False):
        return 0
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def put(path: str, data: bytes) -> None:
    """Make a file that everybody can read; a sandbox without it ends."""
    try:
        with open(path, "xb") as file:
            file.write(data)
        os.chmod(path, 0o644)
    except OSError as error:
        sys.exit("%s: %s" % (path, error.strerror))
