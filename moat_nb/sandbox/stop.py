"""Ending a sandbox from outside its launcher, which lives on and sees it gone.

A note says what is to be ended; nothing is ended by a number from it. A container has a name of
its own for each start. bubblewrap's first process is known by its mount of the sandbox's own
socket directory, looked at while a pidfd holds on to it, so no other process can be mistaken for
it.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from moat_nb.errors import MoatError
from moat_nb.host.reaper import UnixConnection, remove_container
from moat_nb.host.run_directory import SandboxState
from moat_nb.runtimes.docker.engine import sockets as engine_sockets

__all__ = ["end", "is_running"]

ENGINE_SECONDS = 3.0
END_SECONDS = 5.0
"""A process that was sent SIGKILL is gone in milliseconds unless it waits for a disk."""


def is_running(sandbox_state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    """Whether the sandbox of ``sandbox_state`` is there; ``sockets`` is its socket directory.

    An apple container counts as running, since only its launcher can tell quickly.
    """
    if sandbox_state.runtime == "bubblewrap":
        descriptor = _first_process(sockets)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None
    return (
        sandbox_state.runtime == "apple"
        or _engine_with(sandbox_state.container, environ) is not None
    )


def end(sandbox_state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    """End the sandbox and return when it is gone; False when it had ended already.

    Raises MoatError when it cannot be ended.
    """
    if sandbox_state.runtime == "bubblewrap":
        return _end_first_process(sandbox_state, sockets)
    if sandbox_state.runtime == "apple":
        from moat_nb.host.machine import Host
        from moat_nb.runtimes.apple import Apple

        Apple(Host.current()).remove(sandbox_state.container)
        return True
    engine = _engine_with(sandbox_state.container, environ)
    if engine is None:
        return False
    try:
        remove_container(engine, sandbox_state.container, settled=time.monotonic())
    except (OSError, http.client.HTTPException) as error:
        raise MoatError(
            f"{sandbox_state.container}: {engine} did not remove it: {error}"
        ) from error
    if _engine_with(sandbox_state.container, environ) is not None:
        raise MoatError(f"{sandbox_state.container}: {engine} did not remove it; look into its log")
    return True


# ---------------------------------------------------------------- engines


def _engine_with(container: str, environ: Mapping[str, str]) -> str | None:
    """The socket of the engine that has ``container``, of those that a start would try."""
    for path in engine_sockets(environ):
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = UnixConnection(path, timeout=ENGINE_SECONDS)
            try:
                connection.request("GET", f"/containers/{container}/json")
                if connection.getresponse().status == http.client.OK:
                    return path
            finally:
                connection.close()
    return None


# ---------------------------------------------------------------- bubblewrap


def _end_first_process(sandbox_state: SandboxState, sockets: Path) -> bool:
    descriptor = _first_process(sockets)
    if descriptor is None:
        return False
    try:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
            # With it the kernel ends all of its process namespace.
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if not select.select([descriptor], [], [], END_SECONDS)[0]:
            raise MoatError(f"{sandbox_state.container}: it did not end in {END_SECONDS:.0f} s")
    finally:
        os.close(descriptor)
    return True


def _first_process(sockets: Path) -> int | None:
    """A pidfd of the first process of the namespace that has ``sockets`` mounted."""
    for entry in Path("/proc").glob("[0-9]*"):
        if not _is_first(entry, sockets):
            continue
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(int(entry.name))
            # Once more: only now can the number no longer become another process's.
            if _is_first(entry, sockets):
                return descriptor
            os.close(descriptor)
    return None


def _is_first(process: Path, sockets: Path) -> bool:
    try:
        status = (process / "status").read_text(errors="replace")
        numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
        if len(numbers) < 3 or numbers[-1] != "1":
            return False
        mounts = (process / "mountinfo").read_text(errors="replace")
    except (OSError, StopIteration):
        return False
    wanted = str(sockets).replace(" ", "\\040")
    return any(line.split(" ")[4] == wanted for line in mounts.splitlines())
