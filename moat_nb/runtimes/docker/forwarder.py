"""A process that leads a unix socket here to an engine elsewhere: by ssh, or by TLS.

All that speaks to an engine speaks to a unix socket: the SDK, the attach stream, the reaper. One
process serves all launchers of a user; it outlives each of them, as its reaper does, and ends when
nobody was connected for a minute, or its socket is removed. ``main()`` reads its settings from
stdin and says ``ready`` on stdout, or why not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

__all__ = ["IDLE_SECONDS", "READY", "main"]

IDLE_SECONDS = 60.0
READY = "ready"

CONNECT_SECONDS = 15
LOOK_SECONDS = 1.0
CHUNK = 1 << 18

SSH = (
    *("ssh", "-N", "-T", "-S", "none"),
    *("-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=2"),
    *("-o", f"ConnectTimeout={CONNECT_SECONDS}", "-o", "StreamLocalBindMask=0177"),
)
"""A connection of its own, which asks nothing and ends half a minute after the other machine."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Stream]]


class Forwarder:
    """Serves ``socket`` until nobody was connected for a while, or ``stop`` is set."""

    def __init__(self, socket: str, connect: Connect, idle_seconds: float = IDLE_SECONDS) -> None:
        self.stop = asyncio.Event()
        self._idle_seconds = idle_seconds
        self._socket = socket
        self._connect = connect
        self._connections = 0
        self._idle_since = time.monotonic()

    async def serve(self) -> None:
        """Raises OSError or ssl.SSLError where the engine cannot be reached."""
        _, writer = await asyncio.wait_for(self._connect(), CONNECT_SECONDS)
        writer.close()
        # Under its name only once it is served, so that who finds it there may use it.
        made = f"{self._socket}.n"
        _unlink(made)
        server = await asyncio.start_unix_server(self._carry, made, backlog=512)
        os.replace(made, self._socket)  # noqa: PTH105 - pathlib's are refused here
        print(READY, flush=True)
        async with server:
            while not (self.stop.is_set() or self._is_unwanted()):
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.stop.wait(), LOOK_SECONDS)
            _unlink(self._socket)
            while not self.stop.is_set():  # who connected until then is served
                await asyncio.sleep(LOOK_SECONDS)
                if not self._connections:
                    break

    def _is_unwanted(self) -> bool:
        idle = time.monotonic() - self._idle_since > self._idle_seconds
        return (idle and not self._connections) or not os.access(self._socket, os.F_OK)

    async def _carry(self, *here: Any) -> None:
        self._connections += 1
        try:
            with contextlib.closing(here[1]):
                there = await asyncio.wait_for(self._connect(), CONNECT_SECONDS)
                with contextlib.closing(there[1]):
                    await asyncio.gather(_pour(here[0], there[1]), _pour(there[0], here[1]))
        except (OSError, asyncio.TimeoutError):
            pass  # it ends as it would where nobody listens
        finally:
            self._connections -= 1
            self._idle_since = time.monotonic()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What is sent one way, and its end, which TLS cannot say without ending the other way too."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
            return
    writer.close()


async def _over_ssh(words: list[str], socket: str) -> None:
    """Serve by an ssh of our own, and end with it."""
    *where, host, path = words
    inner = f"{socket}.s"
    _unlink(inner)
    program = await asyncio.create_subprocess_exec(
        *SSH, "-L", f"{inner}:{path}", *where, host, stderr=asyncio.subprocess.PIPE
    )
    assert program.stderr is not None
    try:
        ended = asyncio.ensure_future(program.wait())
        while not (os.access(inner, os.F_OK) or ended.done()):
            await asyncio.wait({ended}, timeout=0.02)
        if ended.done():
            said = (await program.stderr.read(CHUNK)).decode(errors="replace").strip()
            raise OSError(said or f"ssh ended with {program.returncode}")
        reading = asyncio.ensure_future(_discard(program.stderr))
        forwarder = Forwarder(socket, lambda: asyncio.open_unix_connection(inner))
        ended.add_done_callback(lambda _: forwarder.stop.set())
        await forwarder.serve()
        reading.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.terminate()
        await program.wait()
        _unlink(inner)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108


async def _discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(CHUNK):
        pass


async def _over_tcp(address: tuple[str, int], tls: dict[str, str] | None, socket: str) -> None:
    context = None
    if tls is not None:
        context = ssl.create_default_context(cafile=tls["ca"] or None)
        if tls["cert"]:
            context.load_cert_chain(tls["cert"], tls["key"] or None)
    host, port = address
    await Forwarder(socket, lambda: asyncio.open_connection(host, port, ssl=context)).serve()


def main() -> None:
    settings = json.loads(sys.stdin.readline())
    if os.fork():
        os._exit(0)  # it is nobody's child: no launcher waits for it
    for signum in (signal.SIGHUP, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)  # of a launcher's terminal
    os.umask(0o177)
    socket = settings["socket"]
    Path(f"{socket}.pid").write_text(f"{os.getpid()}\n")
    try:
        if settings["ssh"]:
            asyncio.run(_over_ssh(settings["ssh"], socket))
        else:
            asyncio.run(_over_tcp(tuple(settings["address"]), settings["tls"], socket))
    except (OSError, asyncio.TimeoutError) as error:
        print(f"{error or 'it does not answer'}", flush=True)
        sys.exit(1)
    finally:
        _unlink(f"{socket}.pid")
