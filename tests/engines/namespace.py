"""Engines of other Debian releases beside each other on one machine.

Each runs on a root filesystem of its own, in a network, a mount and a pid namespace of its own:
whatever it mounts and starts is gone with its first process, however that ends, and no bridge or
rule of the machine's is its own. Of the machine it sees the directories where sandboxes and
projects lie, at their own paths, /dev and /sys.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import moat_nb
from moat_nb.host.run_directory import base_directory, make_base
from tests.engine import until_it_answers
from tests.engines.kinds import PACKAGES, Kind

STOP_SECONDS = 30

NAMESPACES = (
    *("setpriv", "--pdeathsig", "SIGKILL"),
    *("unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"),
)
"""unshare takes its first process along, and that one all others and all mounts."""

_ENTER = """\
set -eu
ip link set lo up
mount -t tmpfs -o mode=0755 moat-tests "$WRITES"
mkdir "$WRITES/upper" "$WRITES/work" "$WRITES/root"
root="$WRITES/root"
mount -t overlay -o "lowerdir=$ROOT,upperdir=$WRITES/upper,workdir=$WRITES/work" moat-tests "$root"
for path in dev sys proc mnt run; do mkdir -p "$root/$path"; done
mount -t tmpfs -o mode=0755 moat-tests "$root/run"
mount -t proc proc "$root/proc"
for path in /dev /sys; do mount --rbind "$path" "$root$path"; done
# crun refuses machines whose cgroups are both of the first and of the second version.
[ ! -d "$root/sys/fs/cgroup/unified" ] || umount "$root/sys/fs/cgroup/unified"
printf '%s\\n' "$SHARED" | while IFS= read -r path; do
  mkdir -p "$root$path"
  # Not what other engines have mounted below.
  mount --bind "$path" "$root$path"
done
mount -t tmpfs -o mode=1777 moat-tests "$root/dev/shm"
for path in docker containers; do
  mkdir -p "$root/var/lib/$path"
  mount --bind "$DATA" "$root/var/lib/$path"
done
cp -R "$FILES/." "$root/"
cd "$root"
pivot_root . mnt
umount --lazy /mnt
exec tini-static -- "$@"
"""


def root_filesystem(suite: str, cache: Path) -> Path:
    """The root filesystem of a Debian suite with its engines, made in ``cache`` if need be."""
    made = cache / suite
    if made.exists():
        return made
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = cache / f"{suite}.{secrets.token_hex(4)}"
    command = [
        *NAMESPACES,
        *("mmdebstrap", "--mode=root", "--format=directory"),
        # Nothing is configured, which takes most of the time and is not needed to run an engine.
        *("--variant=extract", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"),
        # The release file of testing is valid for a week only, and mirrors may lag.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        *(f"--include={','.join(PACKAGES[suite])}", suite, str(unfinished)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise RuntimeError(f"no root filesystem of Debian {suite}:\n{done.stderr[-2000:]}")
    unfinished.rename(made)
    return made


@contextlib.contextmanager
def running(kind: Kind, directory: Path, root: Path) -> Iterator[str]:
    """The socket of an engine on ``root``; it is stopped, and ``directory`` removed, at the end."""
    if os.geteuid() != 0:
        raise RuntimeError(
            "only root can start engines in namespaces of their own: run this as root"
        )
    socket = directory / "engine.sock"
    with contextlib.ExitStack() as undo:
        directory.mkdir(mode=0o711)
        undo.callback(shutil.rmtree, directory)
        undo.callback(_remove_cgroups)
        process = _start(kind, root, directory, socket)
        undo.callback(_stop, process)
        until_it_answers(process, str(socket), directory / "log")
        yield str(socket)


def _start(kind: Kind, root: Path, directory: Path, socket: Path) -> subprocess.Popen[bytes]:
    for path, text in kind.files().items():
        file = directory / "files" / path.lstrip("/")
        file.parent.mkdir(parents=True)
        file.write_text(text)
    writes, data = directory / "writes", directory / "data"
    writes.mkdir()
    data.mkdir()
    command = [
        *NAMESPACES,
        *("unshare", "--net", "sh", "-c", _ENTER, "enter", *kind.command(str(socket))),
    ]
    env = {
        **kind.environ(),
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "ROOT": str(root),
        "WRITES": str(writes),
        "DATA": str(data),
        "FILES": str(directory / "files"),
        "SHARED": "\n".join(_shared()),
    }
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _shared() -> tuple[str, ...]:
    """The directories of this machine that an engine must see where the tests see them."""
    sockets = base_directory(os.environ, os.getuid())
    make_base(sockets)
    package = Path(moat_nb.__file__).parent
    return "/tmp", "/var/tmp", str(sockets), str(package)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the namespace's first process, which is not dead before all others are.

    An engine takes ten seconds to end by itself, and of this one nothing is kept.
    """
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        for child in children.split():
            os.kill(int(child), signal.SIGKILL)
    process.wait(STOP_SECONDS)


def _remove_cgroups() -> None:
    """Those that engines make for all of their containers and never remove, if they are empty."""
    names = ("/docker", "/libpod_parent/conmon", "/libpod_parent")
    # Unlike Path.glob, os.walk passes over one that goes meanwhile.
    for cgroup, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
        if cgroup.endswith(names):
            with contextlib.suppress(OSError):
                Path(cgroup).rmdir()
