"""Cleaning up after a sandbox, the same whether it was stopped or its launcher was killed.

Run as a program this file is the janitor: a child of the launcher in a session of its own, which
reads on its stdin what a start is *about* to make and, once stdin ends, removes all of it in
reverse order. A launcher that stops closes that pipe and waits; a launcher that dies closes it
too. So there is one way to clean up, and a SIGKILL takes it as well.

The program needs the standard library only and starts in about 15 ms, beside the engine's work.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from typing import Any

__all__ = ["Janitor", "UnixConnection"]

LINGER_SECONDS = 2.0
"""How long after the launcher's death an engine may still carry out its last request: a create
that was under way shows up as a container after the first look."""


class Janitor:
    """The launcher's side. Tell it first, act then; thread-safe."""

    def __init__(self) -> None:
        self._duties: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
        )

    def container(self, socket_path: str, name: str) -> None:
        """A container called ``name`` is about to be made by the engine at a unix socket."""
        self._promise({"kind": "container", "socket": socket_path, "name": name})

    def directory(self, path: str) -> None:
        """A directory is about to be made: it goes with all that is in it."""
        self._promise({"kind": "directory", "path": path})

    def mount_point(self, root: str, relative: str, inode: tuple[int, int] | None) -> None:
        """``root/relative`` is about to be made; told again with what was made (device, inode).

        It goes if it is still that and empty. ``(0, 0)``: somebody else made it meanwhile.
        """
        self._promise({"kind": "mount_point", "root": root, "relative": relative, "inode": inode})

    def _promise(self, duty: dict[str, Any]) -> None:
        with self._lock:
            self._duties.append(duty)
            assert self._process.stdin is not None
            # A janitor that was killed is made up for in finish().
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(duty).encode() + b"\n")
                self._process.stdin.flush()

    def finish(self) -> None:
        """Remove everything, and return when it is gone."""
        with self._lock:
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(b'{"kind": "launcher_done"}\n')
                self._process.stdin.close()
            if self._process.wait() != 0:
                clean(self._duties, linger=0)
            self._duties.clear()


def clean(duties: list[dict[str, Any]], linger: float) -> None:
    """Carry out ``duties``, last one first; what cannot be removed does not stop the rest."""
    made = {(d["root"], d["relative"]) for d in duties if d.get("inode") is not None}
    for duty in reversed(duties):
        with contextlib.suppress(OSError, http.client.HTTPException):
            if duty["kind"] == "container":
                remove_container(duty["socket"], duty["name"], linger)
            elif duty["kind"] == "directory":
                shutil.rmtree(duty["path"])
            elif duty["inode"] is not None or (duty["root"], duty["relative"]) not in made:
                remove_mount_point(duty["root"], duty["relative"], duty["inode"])


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, as engines speak it."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def remove_container(socket_path: str, name: str, linger: float) -> None:
    """Ask the engine until it does not know ``name`` any more, for ``linger`` seconds and on."""
    give_up = time.monotonic() + linger + 30
    settled = time.monotonic() + linger
    while time.monotonic() < give_up:
        connection = UnixConnection(socket_path, timeout=30)
        try:
            connection.request("DELETE", f"/containers/{name}?force=1&v=1")
            status = connection.getresponse().status
        finally:
            connection.close()
        if status == http.client.NOT_FOUND and time.monotonic() >= settled:
            return
        time.sleep(0.02 if linger == 0 else 0.2)


def remove_mount_point(root: str, relative: str, inode: list[int] | None) -> None:
    """Remove an empty directory or file of ours without following any link on the way.

    The sandbox could write to the directories above it, so a component may be a link by now.
    """
    *parents, name = relative.split("/")
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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
        elif status.st_size == 0:
            os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)


def main() -> None:
    duties = []
    launcher_died = True
    for line in sys.stdin.buffer:
        if not line.endswith(b"\n"):
            break  # the launcher died while it wrote this, so it did not act on it
        duty = json.loads(line)
        if duty["kind"] == "launcher_done":
            launcher_died = False
        else:
            duties.append(duty)
    clean(duties, linger=LINGER_SECONDS if launcher_died else 0)


if __name__ == "__main__":
    main()
