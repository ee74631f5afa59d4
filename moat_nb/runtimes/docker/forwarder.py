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
import secrets
import signal
import socket as sockets
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

__all__ = ["IDLE_SECONDS", "READY", "main"]

IDLE_SECONDS = 60.0
READY = "ready"

CONNECT_SECONDS = 15
START_SECONDS = 18.0
"""For ssh to have its connection; the launcher waits a little longer."""

LOOK_SECONDS = 1.0
CHUNK = 1 << 18

SSH = (
    *("ssh", "-T", "-S", "none"),
    *("-o", "BatchMode=yes", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=2"),
    *("-o", f"ConnectTimeout={CONNECT_SECONDS}", "-o", "StreamLocalBindMask=0177"),
)
"""A connection of its own, which asks nothing and ends half a minute after the other machine."""

UNTIL_THE_END = "cat"
"""Run there, it ends with its stdin, and ssh with it: also when this process is killed. And where
nothing is run, sshd lets what is small wait for an acknowledgement (Nagle), 40 ms each time."""

KEEPALIVE = (
    (sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, 1),
    *(
        (sockets.IPPROTO_TCP, getattr(sockets, name), value)
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 2))
        if hasattr(sockets, name)
    ),
)
"""A connection ends within a minute of the other machine, as by ssh."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Stream]]


class Forwarder:
    """Serves ``socket`` until nobody was connected for a while, or ``stop`` is set."""

    def __init__(self, socket: str, connect: Connect, idle_seconds: float = IDLE_SECONDS) -> None:
        self.stop = asyncio.Event()
        self._idle_seconds = idle_seconds
        self._socket = socket
        self._inode = 0
        self._connect = connect
        self._connections = 0
        self._idle_since = 0.0

    async def serve(self) -> None:
        """Raises OSError or ssl.SSLError where the engine cannot be reached."""
        _, writer = await asyncio.wait_for(self._connect(), CONNECT_SECONDS)
        writer.close()
        # Under its name only once it is served, so that who finds it there may use it.
        made = _beside(self._socket)
        server = await asyncio.start_unix_server(self._carry, made, backlog=512)
        self._inode = os.stat(made).st_ino  # noqa: PTH116 - pathlib's are refused here
        self._idle_since = time.monotonic()
        os.replace(made, self._socket)  # noqa: PTH105
        try:
            print(READY, flush=True)
            while not (self.stop.is_set() or self._is_unwanted()):
                await self._wait()
            self._unlink()
            while not self.stop.is_set():  # who connected until then is served
                await self._wait()
                if not self._connections:
                    break
        finally:
            self._unlink()
            server.close()

    async def _wait(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.stop.wait(), LOOK_SECONDS)

    def _is_unwanted(self) -> bool:
        idle = time.monotonic() - self._idle_since > self._idle_seconds
        return (idle and not self._connections) or not self._is_ours()

    def _is_ours(self) -> bool:
        """Another process may serve under the name by now."""
        with contextlib.suppress(OSError):
            return os.stat(self._socket).st_ino == self._inode  # noqa: PTH116
        return False

    def _unlink(self) -> None:
        if self._is_ours():
            _unlink(self._socket)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            with contextlib.closing(writer):
                there = await asyncio.wait_for(self._connect(), CONNECT_SECONDS)
                with contextlib.closing(there[1]):
                    await asyncio.gather(_pour(reader, there[1]), _pour(there[0], writer))
        except (OSError, asyncio.TimeoutError):
            pass  # it ends as it would where nobody listens
        finally:
            self._connections -= 1
            self._idle_since = time.monotonic()


def _beside(socket: str) -> str:
    """A name of this process's own, short enough for a socket."""
    return f"{socket}.{secrets.token_hex(2)}"


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
    inner = _beside(socket)
    program = await asyncio.create_subprocess_exec(
        *(*SSH, "-L", f"{inner}:{path}", *where, host, UNTIL_THE_END),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert program.stderr is not None
    ended = asyncio.ensure_future(program.wait())
    try:
        give_up = time.monotonic() + START_SECONDS
        while not (os.access(inner, os.F_OK) or ended.done()):
            if time.monotonic() > give_up:
                raise OSError(f"ssh has no connection after {START_SECONDS:.0f} s")
            await asyncio.wait({ended}, timeout=0.02)
        if ended.done():
            said = (await program.stderr.read(CHUNK)).decode(errors="replace").strip()
            raise OSError(said or f"ssh ended with {program.returncode}")
        reading = asyncio.ensure_future(_discard(program.stderr))
        forwarder = Forwarder(socket, lambda: asyncio.open_unix_connection(inner))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, forwarder.stop.set)
        ended.add_done_callback(lambda _: forwarder.stop.set())
        await forwarder.serve()
        reading.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.terminate()
        await ended
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

    async def connect() -> Stream:
        host, port = address
        stream = await asyncio.open_connection(host, port, ssl=context)
        connection = stream[1].get_extra_info("socket")
        for level, option, value in KEEPALIVE:
            connection.setsockopt(level, option, value)
        return stream

    forwarder = Forwarder(socket, connect)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, forwarder.stop.set)
    await forwarder.serve()


def main() -> None:
    settings = json.loads(sys.stdin.readline())
    if os.fork():
        os._exit(0)  # it is nobody's child: no launcher waits for it
    for signum in (signal.SIGHUP, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)  # of a launcher's terminal
    os.umask(0o077)
    socket = settings["socket"]
    pid = Path(f"{socket}.pid")
    pid.write_text(f"{os.getpid()}\n")
    try:
        if settings["ssh"]:
            asyncio.run(_over_ssh(settings["ssh"], socket))
        else:
            asyncio.run(_over_tcp(tuple(settings["address"]), settings["tls"], socket))
    except (OSError, asyncio.TimeoutError) as error:
        print(f"{error or 'it does not answer'}", flush=True)
        sys.exit(1)
    finally:
        with contextlib.suppress(OSError):
            if pid.read_text() == f"{os.getpid()}\n":
                pid.unlink()
