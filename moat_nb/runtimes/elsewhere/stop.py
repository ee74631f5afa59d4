"""A sandbox on another machine whose launcher is another process here: is it there, and its end.

Its stream is an ssh of this machine's, without which it ends there. The start has noted which, with
the time it began, so that no other process of the same number is taken for it.
"""

from __future__ import annotations

import contextlib
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
    """End the ssh; false when it had ended. Raises MoatError when it does not. The sandbox ends as
    it hears of that: at once, or without a network within ``grace``."""
    import psutil

    carrier = _carrier(sockets)
    if carrier is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(carrier.pid)
        if not carrier.alive:
            return False
        try:
            process.kill()  # looks once more that it is the same process
            process.wait(END_SECONDS)
        except psutil.TimeoutExpired:
            words = f"{state.container}: what carries it did not end in {END_SECONDS:.0f} s"
            raise MoatError(words) from None
        return True
    return False


def _carrier(sockets: Path) -> Owner | None:
    try:
        pid, start, boot = (sockets.parent / CARRIER).read_text().split(":")
        return Owner(pid=int(pid), start=start, boot=boot)
    except (OSError, ValueError):
        return None
