"""A sandbox on another machine whose launcher is another process here: is it there, and its end.

Its stream is an ssh of this machine's, without which it ends there. The start has noted which, with
the time it began, so that no other process of the same number is taken for it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Mapping
from pathlib import Path

from moat_nb.errors import MoatError
from moat_nb.host.run_directory import Owner, SandboxState

__all__ = ["CARRIER", "end", "is_running"]

CARRIER = "carrier"
"""The note, beside the sockets' directory."""

END_SECONDS = 5.0


def is_running(state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    carrier = _carrier(sockets)
    return carrier is not None and carrier.alive


def end(state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    """End the ssh; false when it had ended. Raises MoatError when it does not."""
    carrier = _carrier(sockets)
    if carrier is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(carrier.pid)
        try:
            if not carrier.alive:
                return False
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            if not select.select([descriptor], [], [], END_SECONDS)[0]:
                raise MoatError(f"{state.container}: its ssh did not end in {END_SECONDS:.0f} s")
            return True
        finally:
            os.close(descriptor)
    return False


def _carrier(sockets: Path) -> Owner | None:
    try:
        pid, start, boot = (sockets.parent / CARRIER).read_text().split(":")
        return Owner(pid=int(pid), start=start, boot=boot)
    except (OSError, ValueError):
        return None
