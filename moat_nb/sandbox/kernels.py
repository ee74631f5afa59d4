"""A kernel in a running sandbox: its start, and the spare that is made after it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from moat_nb.errors import ProgramNotFound
from moat_nb.planning.mount_paths import to_sandbox
from moat_nb.sandbox.connection import IPYKERNEL, PORTS
from moat_nb.sandbox.guest_client import Process
from moat_nb.sandbox.running import RunningSandbox

__all__ = ["spawn_kernel"]

SPARE_SECONDS = 1.0
"""From a kernel's start to the making of the next one: its first cells come before."""

SOCKETS_TIMEOUT = 2.0
"""Seconds; an ipykernel listens 0.1 s after it was forked."""


def spawn_kernel(
    running: RunningSandbox,
    argv: Sequence[str],
    connection: Mapping[str, Any],
    *,
    env: Mapping[str, str],
    host_cwd: str | None,
) -> Process:
    """Start a kernel for a client that has ``connection`` (JSON-ready).

    ``{connection_file}`` in ``argv`` becomes a file inside; ``host_cwd`` is mapped to where the
    sandbox has it, if it has. What the kernel writes to its own stdout goes to the log.
    """
    options = running.plan.config.kernel
    # A client may ask for another kernel than the plan's, by a kernelspec of its own.
    fork = options.forked and tuple(argv[: len(IPYKERNEL)]) == IPYKERNEL
    # With ipc, Jupyter's "ip" is the prefix of the sockets' paths.
    sockets = [f"{connection['ip']}-{number}" for number in range(1, len(PORTS) + 1)]
    close = running.open_sockets(sockets)
    try:
        process = running.spawn(
            argv,
            env=env,
            cwd=to_sandbox(host_cwd, running.spec.mounts) if host_cwd else None,
            fork=fork,
            connection=connection,
            tcp=options.transport == "tcp",
            on_output=lambda stream, data: running.log.write(data),
        )
    except BaseException as error:
        close()
        if isinstance(error, ProgramNotFound) and options.argv:
            place = running.plan.config.place("kernel.argv")
            told = f"{place}: kernel.argv: {error} (in the sandbox)"
            raise ProgramNotFound(told) from error
        raise
    process.exited.add_done_callback(lambda _: close())
    running.keep_kernel(process)
    if running.tunnel is None:  # its sockets are here already, and who connects is kept waiting
        _await_sockets(sockets, process)
    if fork and options.spare:
        running.make_spare_kernel(after=SPARE_SECONDS)
    return process


def _await_sockets(paths: Sequence[str], process: Process) -> None:
    """Until the kernel listens, so that its client need not try again: ZeroMQ waits 0.1 s before
    it does. A kernel that takes longer, or ends, is its client's to find out."""
    give_up = time.monotonic() + SOCKETS_TIMEOUT
    while time.monotonic() < give_up and process.poll() is None:
        if all(os.path.lexists(path) for path in paths):
            return
        time.sleep(0.002)
