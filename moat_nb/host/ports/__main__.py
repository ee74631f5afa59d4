"""The process of a sandbox's ports, started by :mod:`moat_nb.host.ports.process`.

The first line of stdin is its :class:`~moat_nb.host.ports.options.PortsOptions`; it ends when stdin
does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

from moat_nb.host.ports.options import PortsOptions
from moat_nb.host.ports.server import serve

__all__ = ["main"]


def main() -> None:
    # Ctrl-C in a terminal goes to the launcher, which decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_serve(PortsOptions.parse(sys.stdin.buffer.readline())))
    os._exit(0)


async def _serve(options: PortsOptions) -> None:
    serving = asyncio.create_task(serve(options))
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.buffer.read))
    await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


if __name__ == "__main__":
    main()
