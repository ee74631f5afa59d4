"""Running a launcher as an ordinary user, also where the tests run as root.

Root's checkout or interpreter may lie below a directory that is closed to everyone else, such as
/root; then the launcher runs in a mount namespace where just these two can be reached, at their
own paths. Nothing of it shows on the host.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import moat_nb
from moat_nb.host.machine import User
from moat_nb.runtimes.bubblewrap.staging import reachable
from tests.engine import docker_group

ORDINARY = User(12345, 12345)

_REVEAL = """\
set -eu
mount -t tmpfs -o mode=0755 moat-tests /mnt
n=0
for path in $NEEDED; do n=$((n+1)); mkdir /mnt/$n; mount --rbind "$path" /mnt/$n; done
for top in $CLOSED; do mount -t tmpfs -o mode=0755 moat-tests "$top"; done
n=0
for path in $NEEDED; do n=$((n+1)); mkdir -p "$path"; mount --rbind /mnt/$n "$path"; done
exec "$@"
"""


def needed() -> tuple[str, ...]:
    """The directories that a launcher runs on."""
    checkout = str(Path(moat_nb.__file__).parent.parent)
    return tuple(dict.fromkeys((checkout, sys.prefix, sys.base_prefix)))


def command(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The words that run ``argv`` as :data:`ORDINARY`, in the engine's group, and their env."""
    if os.getuid() != 0:
        return list(argv), {}
    drop = [
        *("setpriv", "--reuid", str(ORDINARY.uid), "--regid", str(ORDINARY.gid)),
        *("--groups", docker_group_id(), "--"),
    ]
    return revealed([*drop, *argv])


def revealed(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The words that run ``argv`` where ordinary users reach what a launcher runs on."""
    hidden = [path for path in needed() if not reachable(path, ORDINARY)]
    if not hidden:
        return [*argv], {}
    env = {"NEEDED": " ".join(hidden), "CLOSED": " ".join(sorted({_closed(p) for p in hidden}))}
    return ["unshare", "--mount", "sh", "-c", _REVEAL, "reveal", *argv], env


def docker_group_id() -> str:
    import grp

    return str(grp.getgrnam(docker_group()).gr_gid)


def _closed(path: str) -> str:
    """The topmost directory on the way to ``path`` that others may not pass."""
    for parent in reversed(Path(path).parents):
        if not reachable(str(parent / "x"), ORDINARY):
            return str(parent)
    raise ValueError(f"{path} can be reached")


def run(argv: Sequence[str], *, env: Mapping[str, str], **options: Any) -> Any:
    """``subprocess.run`` as an ordinary user, with ``env`` alone."""
    words, extra = command(argv)
    options = {"capture_output": True, "text": True, "timeout": 120, **options}
    return subprocess.run(words, env={**env, **extra}, check=False, **options)
