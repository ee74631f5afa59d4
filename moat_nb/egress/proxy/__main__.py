"""The proxy's process, started by :mod:`moat_nb.egress.process`.

The first line of stdin is its :class:`~moat_nb.egress.options.ProxyOptions`; the process ends when
stdin does. It writes a :class:`~moat_nb.egress.records.Record` a line: refusals and failures to
stdout, all of them to the file that the options name.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from moat_nb.egress.options import ProxyOptions
from moat_nb.egress.proxy.server import Proxy
from moat_nb.egress.records import Record
from moat_nb.host.rotating_log import BoundedLog

__all__ = ["main"]

CONNECTIONS = 1000
"""At once; a browser has 256 at most. Each takes two file descriptors."""
SPARE_DESCRIPTORS = 100


def main() -> None:
    # Ctrl-C in a terminal goes to the launcher, which decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    options = ProxyOptions.parse(sys.stdin.buffer.readline())
    listening = socket.socket(fileno=options.listen_fd)
    listening.set_inheritable(False)
    os.set_blocking(sys.stdout.fileno(), False)
    records = BoundedLog(Path(options.records), limit=options.limit)

    def on_record(record: Record) -> None:
        records.write(record.line())
        if record.outcome != "passed":
            # A launcher that does not read misses records; the proxy does not wait for it.
            with contextlib.suppress(OSError):
                os.write(sys.stdout.fileno(), record.line())

    proxy = Proxy(options, on_record, _connections())
    asyncio.run(_serve(proxy, listening))
    # A thread that waits for a name server would hold the process for seconds.
    os._exit(0)


async def _serve(proxy: Proxy, listening: socket.socket) -> None:
    serving = asyncio.create_task(proxy.serve(listening))
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.buffer.read))
    await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def _connections() -> int:
    """As many as the process may have descriptors for, once its soft limit is raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS + SPARE_DESCRIPTORS
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    allowed = max(allowed, soft)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return (min(allowed, wanted) - SPARE_DESCRIPTORS) // 2


if __name__ == "__main__":
    main()
