"""Which covers are mounted late, by ``covers.py``, and when that is done."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import posixpath
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from moat_nb.errors import StartError
from moat_nb.host.machine import User
from moat_nb.planning.mounts import TMPFS_MODE, Bind, EmptyFile, Mount, Tmpfs
from moat_nb.runtimes.bubblewrap import covers
from moat_nb.runtimes.pipes import ready

__all__ = ["Late", "late"]

SECONDS = 60.0
"""For bubblewrap's own mounts, and for ours; a second for each where nothing is wrong."""


@dataclass(frozen=True, kw_only=True)
class Late:
    """What bubblewrap leaves out."""

    directories: tuple[Tmpfs, ...] = ()
    files: tuple[EmptyFile, ...] = ()
    empty: str = ""
    """The path inside of an empty file that bubblewrap mounts itself."""

    def __bool__(self) -> bool:
        return bool(self.directories or self.files)

    @functools.cached_property
    def targets(self) -> frozenset[str]:
        directories = (mount.target for mount in self.directories)
        return frozenset((*directories, *(mount.target for mount in self.files)))

    def info(self, stack: contextlib.ExitStack, fds: dict[str, str]) -> tuple[int, int]:
        """A pipe by which bubblewrap tells its pid; the end for it goes to ``fds``."""
        if not self:
            return -1, -1
        told, tell = os.pipe()
        stack.callback(os.close, told)
        fds["info"] = str(tell)
        return told, tell

    def mount(self, process: subprocess.Popen[bytes], info: tuple[int, int], user: User) -> None:
        """Mount them in the namespace of ``process``, which is bubblewrap and tells its pid by
        ``info``, and let it go on. StartError."""
        told, tell = info
        os.close(tell)
        assert process.stdin is not None
        assert process.stdout is not None
        give_up = time.monotonic() + SECONDS
        if not ready(process.stdout.fileno(), select.POLLIN, give_up):
            process.kill()
            raise StartError(f"bubblewrap: its mounts were not made in {SECONDS:.0f} s")
        if not os.read(process.stdout.fileno(), 1):
            return  # it has ended, and said why
        with open(told, "rb", closefd=False) as words:
            pid = json.loads(words.read())["child-pid"]
        order = {
            "pid": pid,
            "user": (user.uid, user.gid),
            "mode": TMPFS_MODE,
            "tmpfs": [(mount.target, mount.size) for mount in self.directories],
            "files": [mount.target for mount in self.files],
            "empty": self.empty,
        }
        done = subprocess.run(
            [sys.executable, "-I", "-S", covers.__file__],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            check=False,
            env={},
            cwd="/",
            timeout=SECONDS,
        )
        if done.returncode != 0:
            process.kill()
            raise StartError(f"bubblewrap: an exclude cannot be covered: {done.stderr.strip()}")
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b"\n")


def late(mounts: Sequence[Mount]) -> Late:
    """The excludes of ``mounts`` that something of the host's lies under and nothing is mounted
    below; none where there are few."""
    found = list(_eligible(mounts))
    if len(found) < covers.MANY:
        return Late()
    files = tuple(mount for mount in found if isinstance(mount, EmptyFile))
    return Late(
        directories=tuple(mount for mount in found if isinstance(mount, Tmpfs)),
        files=files[1:],
        empty=files[0].target if files else "",
    )


def _eligible(mounts: Sequence[Mount]) -> Iterator[Tmpfs | EmptyFile]:
    by_target = {mount.target: mount for mount in mounts}
    parents = {path for target in by_target for path in _above(target)}
    for mount in mounts:
        is_exclude = isinstance(mount, Tmpfs) and mount.role == "exclude"
        if not (is_exclude or isinstance(mount, EmptyFile)) or mount.target in parents:
            continue
        under = next((by_target[path] for path in _above(mount.target) if path in by_target), None)
        if isinstance(under, Bind) and isinstance(mount, (Tmpfs, EmptyFile)):
            yield mount


def _above(path: str) -> Iterator[str]:
    while path != "/":
        path = posixpath.dirname(path)
        yield path
