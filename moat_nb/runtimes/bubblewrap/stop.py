"""A sandbox of bubblewrap's whose launcher is another process: is it there, and its end.

Its first process is known by its mount of the sandbox's own socket directory, looked at while a
pidfd holds on to it, so no other process can be mistaken for it: a number would not do.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Mapping
from pathlib import Path

from moat_nb.errors import MoatError
from moat_nb.host.run_directory import SandboxState

__all__ = ["end", "is_running"]

END_SECONDS = 5.0
"""A process that was sent SIGKILL is gone in milliseconds unless it waits for a disk."""


def is_running(state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    """Whether the first process of the sandbox with the socket directory ``sockets`` is there."""
    descriptor = _first_process(sockets)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


def end(state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    """Kill the first process and return when it is gone; False when it was gone already.

    Raises MoatError when it does not end.
    """
    descriptor = _first_process(sockets)
    if descriptor is None:
        return False
    try:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
            # With it the kernel ends all of its process namespace.
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if not select.select([descriptor], [], [], END_SECONDS)[0]:
            raise MoatError(f"{state.container}: it did not end in {END_SECONDS:.0f} s")
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
