"""What is removed after a sandbox: containers, directories, cgroups and mount points.

Run as a program, this file is the reaper: a child of the launcher in a session of its own. It
reads on stdin what a start is *about* to make. Once stdin ends, it removes all of it in reverse
order. The pipe closes when the launcher stops, and when it dies, by SIGKILL too.

One stands beside each sandbox, so the program imports what an interpreter has built in: json,
contextlib and signal would take 9 ms, where the interpreter itself takes 12.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # signal's own, without what that imports
import errno
import marshal
import os
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import http.client
    from typing import Any

__all__ = [
    "LOOK_ONLY",
    "clean",
    "connect_http",
    "in_use",
    "read_task",
    "remove_cgroup",
    "remove_container",
    "remove_mount_point",
    "remove_tree",
    "write_task",
]

LOOK_ONLY = getattr(os, "O_PATH", os.O_RDONLY)
"""Opens a directory that may not be read, where the system can (macOS cannot)."""

LINGER_SECONDS = 2.0
"""How long after the launcher's death an engine may still carry out its last request: a container
may appear after the reaper first asked for it."""


GIVE_UP_SECONDS = 300.0
"""For an engine that answers and does not remove a container: a busy one says for a while that
its file system is in use."""


def clean(tasks: list[dict[str, Any]], linger: float) -> None:
    """Carry out ``tasks``, the last first; a failed removal does not stop the rest."""
    settled = time.monotonic() + linger
    made = {(d["root"], d["relative"]) for d in tasks if d.get("inode") is not None}
    for task in reversed(tasks):
        try:
            if task["kind"] == "container":
                remove_container(task["socket"], task["name"], settled)
            elif task["kind"] == "command":
                run_command(task["argv"], task["env"], settled)
            elif task["kind"] == "directory":
                remove_tree(task["path"])
            elif task["kind"] == "cgroup":
                remove_cgroup(task["path"])
            elif task["inode"] is not None or (task["root"], task["relative"]) not in made:
                # A bubblewrap that is just starting would make it again.
                time.sleep(max(0.0, settled - time.monotonic()))
                if not in_use(f"{task['root']}/{task['relative']}", task.get("note", "")):
                    remove_mount_point(task["root"], task["relative"], task["inode"])
        except (OSError, ImportError):  # an interpreter may be replaced while this one runs
            continue


def connect_http(path: str, timeout: float) -> http.client.HTTPConnection:
    """HTTP over an engine's unix socket; OSError where none listens within ``timeout`` seconds."""
    # Here, as they take 7 MiB and 20 ms, which a reaper needs at a container's end alone.
    import http.client
    import socket

    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(timeout)
    try:
        connection.sock.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def remove_container(engine: str, name: str, settled: float) -> None:
    """Ask the engine at a unix socket to delete ``name`` until it knows none, and at least until
    ``settled`` of the monotonic clock; OSError when it does not answer as an engine."""
    import http.client  # see connect_http()

    give_up = settled + GIVE_UP_SECONDS
    while time.monotonic() < give_up:
        connection = connect_http(engine, timeout=30)
        try:
            connection.request("DELETE", f"/containers/{name}?force=1&v=1")
            status = connection.getresponse().status
        except http.client.HTTPException as error:
            raise OSError(errno.EPROTO, f"no answer of an engine: {error!r}") from error
        finally:
            connection.close()
        if status == http.client.NOT_FOUND and time.monotonic() >= settled:
            return
        time.sleep(0.02 if time.monotonic() >= settled else 0.2)


def run_command(argv: list[str], environ: dict[str, str], settled: float) -> None:
    """Run what removes something, once more after ``settled`` of the monotonic clock."""
    while True:
        late = time.monotonic() >= settled
        pid = os.posix_spawn(argv[0], argv, environ)
        os.waitpid(pid, 0)
        if late:
            return
        time.sleep(max(0.0, settled - time.monotonic()))


def remove_cgroup(path: str) -> None:
    """Remove it as soon as the last process of it has ended; OSError when none does in half a
    minute, or there is none."""
    give_up = time.monotonic() + 30
    while True:
        try:
            os.rmdir(path)  # noqa: PTH106 - pathlib takes 5 ms to import
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


def in_use(path: str, state_file: str) -> bool:
    """Whether another sandbox has a mount at or below ``path``; its own reaper removes ``path``."""
    if not state_file:
        return False
    import json  # where there is an excluded directory alone

    own = os.path.dirname(state_file)  # noqa: PTH120 - pathlib takes 5 ms to import
    base = os.path.dirname(own)  # noqa: PTH120
    for name in os.listdir(base):  # noqa: PTH208
        if f"{base}/{name}" == own:
            continue
        try:
            with open(f"{base}/{name}/sandbox.json", "rb") as file:  # noqa: PTH123
                covered = json.load(file)["covers"]
            if any(f"{point}/".startswith(f"{path}/") for point in covered):
                return True
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return False


def remove_mount_point(root: str, relative: str, inode: list[int] | None) -> None:
    """Remove an empty directory or file of ours, following no link.

    The sandbox could write to the directories above, so a component may be a link by now.
    """
    *parents, name = relative.split("/")
    flags = LOOK_ONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    directory = os.open(root, flags & ~os.O_NOFOLLOW)
    try:
        for part in parents:
            below = os.open(part, flags, dir_fd=directory)
            os.close(directory)
            directory = below
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if inode is not None and [status.st_dev, status.st_ino] != list(inode):
            return
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(name, dir_fd=directory)
        elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
            os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)


def remove_tree(path: str) -> None:
    """Remove a directory and its contents, which a sandbox may have made hostile.

    A sandbox may nest directories deeper than a recursion reaches or the open descriptors allow,
    close them (mode 0000), and replace entries by links meanwhile. So each directory's entries are
    moved up to the top, by descriptors that follow no link.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    top = os.open(path, flags)
    try:
        # Entries move up as directories are emptied: each pass makes the tree one level
        # shallower. A pass that changes nothing is the last.
        while names := os.listdir(top):  # noqa: PTH208 - a descriptor
            if not [name for name in names if _remove_entry(name, top, flags)]:
                break
    finally:
        os.close(top)
    os.rmdir(path)  # noqa: PTH106 - pathlib takes 5 ms to import


def _remove_entry(name: str, top: int, flags: int) -> bool:
    """Remove an entry of ``top`` and move a directory's entries there; True on success."""
    try:
        if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=top)
            return True
        directory = _open_closed(name, top, flags)
        try:
            for below in os.listdir(directory):  # noqa: PTH208 - a descriptor
                _lift(below, directory, top, flags)
        finally:
            os.close(directory)
        os.rmdir(name, dir_fd=top)
    except OSError:
        return False
    return True


def _open_closed(name: str, parent: int, flags: int) -> int:
    """Open a directory whose mode may forbid even its owner to read it."""
    if not hasattr(os, "O_PATH"):
        os.chmod(name, 0o700, dir_fd=parent, follow_symlinks=False)
        return os.open(name, flags, dir_fd=parent)
    handle = os.open(name, flags | os.O_PATH, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101 - a descriptor
        return os.open(".", flags, dir_fd=handle)
    finally:
        os.close(handle)


def _lift(name: str, directory: int, top: int, flags: int) -> None:
    """Move an entry up. A directory must be writable for that, as its ``..`` changes."""
    if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        os.close(_open_closed(name, directory, flags))
        os.rename(name, f"moat-{os.urandom(8).hex()}", src_dir_fd=directory, dst_dir_fd=top)
    else:
        os.unlink(name, dir_fd=directory)


def write_task(task: dict[str, Any]) -> bytes:
    """A line for the reaper, which runs by the launcher's own interpreter."""
    return marshal.dumps(task).hex().encode() + b"\n"


def read_task(line: bytes) -> dict[str, Any]:
    task: dict[str, Any] = marshal.loads(bytes.fromhex(line.decode()))
    return task


def main() -> None:
    for signum in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM):
        # A service manager signals all of the launcher's processes at once; this one must
        # outlive the launcher.
        _signal.signal(signum, _signal.SIG_IGN)
    tasks: list[dict[str, Any]] = []
    launcher_died = True
    for line in sys.stdin.buffer:
        if not line.endswith(b"\n"):
            break  # the launcher died while writing this, so it never acted on it
        task = read_task(line)
        if task["kind"] == "launcher_done":
            launcher_died = False
        elif task["kind"] == "gone":
            tasks = [each for each in tasks if each.get("argv") != task["argv"]]
        else:
            tasks.append(task)
    clean(tasks, linger=LINGER_SECONDS if launcher_died else 0)


if __name__ == "__main__":
    main()
