"""The project's files as a sandbox sees them: each operation is a process in a sandbox of its own.

The server has its user's rights, and pages that a sandbox has written ask it for files. So it opens
none by itself: links, directories that are swapped meanwhile, excludes and what is read-only are
what they are for every program inside.
"""

from __future__ import annotations

import contextlib
import errno
import json
import posixpath
import threading
from collections.abc import Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from moat_nb.config.model import WORKSPACE, Config, Network
from moat_nb.errors import MoatError, SandboxGone
from moat_nb.planning.spec import GUEST_PATH
from moat_nb.sandbox.approval import check_again
from moat_nb.sandbox.fresh_copy import with_fresh_copy
from moat_nb.sandbox.permissions import Permissions
from moat_nb.sandbox.project import LaunchPlan, plan_project
from moat_nb.sandbox.sandbox import Sandbox
from moat_nb.text.progress import Silent
from moat_nb.text.untrusted import number

__all__ = ["MAX_FILE", "Facts", "Workspace", "inside"]

MAX_FILE = 256 << 20
"""Bytes of one file; the server holds it in memory, more than once."""

MAX_HEAD = 16 << 20
TIMEOUT = 60.0
"""Seconds for one operation; a sandbox that is stopped, or a huge directory, must not hang it."""

PIECE = 48 << 10
SIGKILL = 9
MAX_NAME = 255


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a file or a directory is; times in seconds since the epoch."""

    type: str
    """``file``, ``directory`` or ``other``."""
    size: int
    modified: int
    created: int
    writable: bool

    @classmethod
    def parse(cls, found: Mapping[str, Any]) -> Facts:
        """From what the sandbox printed; ValueError or KeyError when it is no such thing."""
        if found["type"] not in ("file", "directory", "other"):
            raise ValueError("no such type")
        return cls(
            type=found["type"],
            size=number(found["size"]),
            modified=min(number(found["modified"]), 1 << 37),
            created=min(number(found["created"]), 1 << 37),
            writable=found["writable"] is True,
        )


def inside(path: str) -> str:
    """The absolute path inside of a path that a page names; OSError for one that is none."""
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise OSError(errno.EINVAL, "no path of the workspace")
    try:
        path.encode()
    except UnicodeError:
        raise OSError(errno.EINVAL, "no path of the workspace") from None
    return posixpath.join(WORKSPACE, *parts)


class Workspace:
    """The files below :data:`WORKSPACE`. Its methods block, may be called from any thread, take
    paths relative to it, and raise OSError with the errno that a program inside would have."""

    def __init__(self, config: Config, runtime: str | None, approved: Permissions) -> None:
        self._config = config
        self._runtime = runtime
        self._approved = approved
        self._lock = threading.Lock()
        self._box: Sandbox | None = None
        self._closed = False

    # -------- the sandbox

    def start(self) -> None:
        """Start its sandbox, so that the first page need not wait; raises what a start does."""
        self._running()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            box, self._box = self._box, None
        if box is not None:
            box.stop()

    def _running(self) -> Sandbox:
        with self._lock:
            if self._closed:
                raise SandboxGone("the server has ended")
            if self._box is None or self._box.gone is not None:
                if self._box is not None:
                    self._box.stop()
                self._box = Sandbox(self._plan, pooled=False)
            return self._box

    def _plan(self, file: Config | None) -> LaunchPlan:
        planned = partial(plan_project, runtime=self._runtime, kernels=False)
        made = planned(bare(file or self._config))
        check_again(made, self._approved)
        if made.runtime.capabilities.unasked:
            planned = partial(planned, ask=True)
            made = planned(made.file)
        return with_fresh_copy(made, planned, Silent)

    @property
    def excludes(self) -> frozenset[str]:
        """The paths inside that are covered: they are not there, for a page."""
        return frozenset(mount.target for mount in self._running().spec.mounts.excludes)

    # -------- operations

    def look(self, path: str) -> Facts:
        return Facts.parse(self._do("look", path)[0])

    def list(self, path: str) -> dict[str, Facts]:
        """What is in a directory, by name."""
        head, _ = self._do("list", path)
        where, hidden = inside(path), self.excludes
        found = {_name(entry["name"]): Facts.parse(entry) for entry in head["entries"]}
        return {
            name: facts
            for name, facts in found.items()
            if posixpath.join(where, name) not in hidden
        }

    def read(self, path: str) -> tuple[Facts, bytes]:
        head, data = self._do("read", path, limit=MAX_FILE)
        return Facts.parse(head), data

    def write(self, path: str, data: bytes, *, append: bool = False) -> Facts:
        if len(data) > MAX_FILE:
            raise OSError(errno.EFBIG, "too large")
        return Facts.parse(self._do("write", path, data, append=append)[0])

    def make_directory(self, path: str) -> Facts:
        return Facts.parse(self._do("mkdir", path)[0])

    def delete(self, path: str) -> None:
        self._do("delete", path)

    def rename(self, path: str, to: str) -> Facts:
        self._refuse_covered(inside(to))
        return Facts.parse(self._do("rename", path, to=inside(to))[0])

    def _refuse_covered(self, where: str) -> None:
        if any(PurePosixPath(where).is_relative_to(target) for target in self.excludes):
            raise OSError(errno.ENOENT, "excluded")

    def _do(
        self, op: str, path: str, data: bytes = b"", **arguments: Any
    ) -> tuple[dict[str, Any], bytes]:
        where = inside(path)
        self._refuse_covered(where)
        request = json.dumps({"op": op, "path": where, **arguments}).encode() + b"\n"
        output = self._run(request + data)
        line, _, rest = output.partition(b"\n")
        try:
            head = json.loads(line[:MAX_HEAD])
            if (error := head.get("error")) is not None:
                raise OSError(number(error), f"{op}: refused inside the sandbox")
            return head, rest
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
            raise OSError(errno.EIO, f"the sandbox's answer is none: {problem!r:.100}") from None

    def _run(self, given: bytes) -> bytes:
        box = self._running()
        output = bytearray()
        too_much = threading.Event()

        def hear(stream: int, data: bytes) -> None:
            if stream != 1:
                return
            if len(output) + len(data) > MAX_FILE + MAX_HEAD:
                too_much.set()
                return
            output.extend(data)

        process = box.spawn(
            [box.spec.command[0], "-I", "-S", f"{GUEST_PATH}/files.py"],
            stdin=True,
            on_output=hear,
            cwd="/",
        )
        killer = threading.Timer(TIMEOUT, process.signal, (SIGKILL,))
        killer.daemon = True
        killer.start()
        try:
            for start in range(0, len(given), PIECE):
                process.write(given[start : start + PIECE])
            process.write(None)
            process.wait(timeout=TIMEOUT + 5)
        except FutureTimeout:
            # Not even SIGKILL ends it, so the guest does not answer: the next gets another.
            box.stop()
            raise OSError(errno.ETIMEDOUT, "the sandbox does not answer") from None
        finally:
            killer.cancel()
            with contextlib.suppress(MoatError):
                process.signal(SIGKILL)
        if box.gone is not None:
            raise SandboxGone(box.gone)
        if too_much.is_set():
            raise OSError(errno.EFBIG, "too large")
        return bytes(output)


def bare(config: Config) -> Config:
    """What of a project's sandbox its files need: nothing that costs, and no secret or way out."""
    kernel = replace(
        config.kernel,
        spare=False,
        pool=0,
        cache=(),
        gpus=None,
        idle_timeout=None,
        max_lifetime=None,
    )
    return replace(
        config,
        kernel=kernel,
        services=(),
        secrets=(),
        network=Network(policy="none"),
        hooks=replace(config.hooks, pre_run=None),
    )


def _name(value: Any) -> str:
    """A file's name as the sandbox told it; ValueError when no file can have it."""
    if not isinstance(value, str) or value in ("", ".", "..") or len(value) > MAX_NAME:
        raise ValueError("no name of a file")
    if "/" in value or "\0" in value:
        raise ValueError("no name of a file")
    return value
