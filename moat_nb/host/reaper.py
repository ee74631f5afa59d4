"""The launcher's end of the reaper, which removes what a sandbox leaves: for a stop and for the
launcher's death in one way. The other end is the program :mod:`moat_nb.host.cleanup`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moat_nb.host import cleanup

__all__ = ["Reaper"]


class Reaper:
    """Announce first, then act. Thread-safe."""

    def __init__(self) -> None:
        self._tasks: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", cleanup.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            bufsize=0,
            start_new_session=True,
        )

    def container(self, socket_path: str, name: str) -> None:
        """A container called ``name`` is about to be made by the engine at a unix socket."""
        self._tell({"kind": "container", "socket": socket_path, "name": name})

    def command(self, argv: Sequence[str], environ: Mapping[str, str]) -> Callable[[], None]:
        """What ``argv`` removes is about to be made; what is returned says that it is gone."""
        words = {name: value for name, value in environ.items() if "\0" not in name + value}
        task = {"kind": "command", "argv": list(argv), "env": words}
        self._tell(task)

        def gone() -> None:
            with self._lock:
                if task in self._tasks:
                    self._tasks.remove(task)
            self._tell({"kind": "gone", "argv": task["argv"]})

        return gone

    def directory(self, path: str) -> None:
        """A directory is about to be made; it is removed with its contents."""
        self._tell({"kind": "directory", "path": path})

    def cgroup(self, path: str) -> None:
        """A cgroup's directory is about to be made; it is removed once no process is in it."""
        self._tell({"kind": "cgroup", "path": path})

    def mount_point(
        self, root: str, relative: str, inode: tuple[int, int] | None, state_file: str = ""
    ) -> None:
        """``root/relative`` is about to be made; call again with its (device, inode).

        It is removed if it is still that inode, is empty, and carries no mount of another sandbox
        whose state file stands beside ``state_file``. ``(0, 0)``: somebody else made it meanwhile.
        """
        task = {"kind": "mount_point", "root": root, "relative": relative}
        self._tell({**task, "inode": inode, "note": state_file})

    def _tell(self, task: dict[str, Any]) -> None:
        with self._lock:
            self._tasks.append(task)
            assert self._process.stdin is not None
            # If the reaper was killed, finish() does its work.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(cleanup.write_task(task))

    def finish(self, within: float | None = None) -> None:
        """Remove everything, and return when that is done, or in ``within`` seconds: the reaper
        goes on by itself then. A second call does nothing."""
        with self._lock:
            assert self._process.stdin is not None
            if self._process.stdin.closed:
                return
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(cleanup.write_task({"kind": "launcher_done"}))
            self._process.stdin.close()
            tasks, self._tasks = self._tasks, []
            try:
                self._wait(tasks, within)
            except subprocess.TimeoutExpired:
                threading.Thread(
                    target=self._wait, args=(tasks, None), name="moat-reaper", daemon=True
                ).start()

    def _wait(self, tasks: list[dict[str, Any]], within: float | None) -> None:
        """For its end; what one that was killed has left is done here."""
        if self._process.wait(within) != 0:
            cleanup.clean(tasks, linger=0)
