"""The keeper of a sandbox for shims: it outlives one shim for as long as a restart takes.

It holds the sandbox's attach stream, and the relay that serves the ports of the client's connection
file. It serves one shim at a time over a unix socket of JSON lines:

    from the shim: {connection, cwd, env}, then {signal}
    to the shim:   {log}, then {exited}

A shim that goes takes its kernel with it. Without another within GRACE_SECONDS, the keeper stops
the sandbox and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from moat_nb.errors import MoatError
from moat_nb.host.run_directory import base_directory
from moat_nb.jupyter.relay.process import RelayProcess
from moat_nb.jupyter.time_limits import TimeLimits
from moat_nb.jupyter.told import note_of
from moat_nb.sandbox.connection import IPYKERNEL_ARGV, json_ready, new_connection
from moat_nb.sandbox.guest_client import Exit, Process
from moat_nb.sandbox.sandbox import Sandbox

__all__ = ["main"]

GRACE_SECONDS = 5.0
"""A client's restart takes 0.5 s from the old process's end to the new one's start, and longer on
a machine that has much else to do."""


class Keeper:
    def __init__(self, project: str, runtime: str, *, trust_output: bool, workspace: str) -> None:
        self._workspace = workspace
        self._trust_output = trust_output
        self._project = project
        self._runtime = runtime
        self._sandbox: Sandbox | None = None
        self._process: Process | None = None
        self._limits: TimeLimits | None = None
        self._prefix = ""
        self._news: tuple[str, ...] = ()
        self._relay: RelayProcess | None = None
        self._untold: list[tuple[str, int]] = []
        """What cells are told once there is a relay again."""
        self._shims: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]

    async def run(self, first: socket.socket, address: str) -> None:
        """Serve shims, one after another, until none comes any more."""
        self._shims = asyncio.Queue()
        server = await asyncio.start_unix_server(self._arrived, address)
        try:
            reader, writer = await asyncio.open_unix_connection(sock=first)
            await self._shims.put((reader, writer))
            with contextlib.suppress(asyncio.TimeoutError):
                while await self._serve(
                    *await asyncio.wait_for(self._shims.get(), timeout=GRACE_SECONDS)
                ):
                    pass
        finally:
            server.close()
            if self._sandbox is not None:
                await asyncio.to_thread(self._sandbox.stop)

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._shims.put((reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One shim, to its end; whether another may follow."""
        # It ends with each kernel: a client that found it later would miss the next kernel's.
        relay = limits = None
        try:
            start = json.loads(await reader.readline() or b"null")
            if start is None:
                return True
            relay = RelayProcess(base_directory(os.environ, os.getuid()))
            relay.open(start["connection"], trusted=self._trust_output)
            wanted = _Flag()
            limits = TimeLimits(relay, wanted.set)
            orders = asyncio.create_task(self._obey(reader))
            await asyncio.to_thread(self._start, start, relay, limits)
            while await self._watch(writer, relay, limits, orders):
                await self._wake(start, relay, limits, orders, wanted)
            orders.cancel()
        except (MoatError, OSError) as error:
            await _tell(writer, {"log": f"moat-nb: {error}"})
            await _tell(writer, {"exited": 1})
            return False
        finally:
            await asyncio.to_thread(self._end_kernel)
            self._relay = None
            if limits is not None:
                limits.end()
            if relay is not None:
                await asyncio.to_thread(relay.close)
            writer.close()
        return True

    def _start(self, start: dict[str, Any], relay: RelayProcess, limits: TimeLimits) -> None:
        """Start the kernel, in the sandbox that is there or in a new one."""
        sandbox = self._sandbox
        before = sandbox.id if sandbox is not None else None
        outdated = sandbox.outdated() if sandbox is not None else None
        if sandbox is None:
            sandbox = Sandbox.launch(
                self._project,
                self._runtime or None,
                pooled=False,
                on_event=self._hear,
                directory=start["cwd"],
                workspace=self._workspace or None,
            )
            self._sandbox, self._news = sandbox, sandbox.notices
        elif sandbox.gone is not None:
            sandbox.relaunch()
            self._news = sandbox.notices
        if outdated is not None:
            self._news = (*self._news, outdated)
        inner = json_ready(new_connection(sandbox.next_socket_prefix()))
        self._prefix = inner["ip"]
        relay.no_space = sandbox.no_space
        relay.connect(inner)
        for notice in sandbox.first_notices if sandbox.id != before else ():
            relay.note(notice)
        self._relay = relay
        self._tell_notes()
        self._process = sandbox.spawn_kernel(
            list(sandbox.config.kernel.argv) or IPYKERNEL_ARGV,
            inner,
            env=start["env"],
            host_cwd=start["cwd"],
        )
        self._limits = limits
        limits.watch(sandbox, self._process)

    def _hear(self, kind: str, text: str) -> None:
        if kind == "time" and self._limits is not None:
            self._limits.tell(text)
        elif (note := note_of(kind, text)) is not None:
            self._untold.append(note)
            self._tell_notes()

    def _tell_notes(self) -> None:
        """Called from the sandbox's threads too."""
        relay = self._relay
        with contextlib.suppress(IndexError):
            while relay is not None:
                text, weight = self._untold.pop(0)
                relay.note(text, weight=weight)

    async def _wake(
        self,
        start: dict[str, Any],
        relay: RelayProcess,
        limits: TimeLimits,
        orders: asyncio.Task[None],
        wanted: _Flag,
    ) -> None:
        """Once a client asks for something, start another sandbox; until the shim ends."""
        while not orders.done():
            wish = asyncio.create_task(wanted.wait())
            await asyncio.wait({wish, orders}, return_when=asyncio.FIRST_COMPLETED)
            if not wish.done():
                wish.cancel()
                return
            try:
                await asyncio.to_thread(self._start, start, relay, limits)
            except (MoatError, OSError) as error:
                relay.refused(f"no other sandbox was started: {error}")
            else:
                return

    async def _watch(
        self,
        writer: asyncio.StreamWriter,
        relay: RelayProcess,
        limits: TimeLimits,
        orders: asyncio.Task[None],
    ) -> bool:
        """Until the kernel or the shim ends; whether another is to be started once it is wanted."""
        process, sandbox = self._process, self._sandbox
        assert process is not None and sandbox is not None
        for notice in self._news:
            await _tell(writer, {"log": f"moat-nb: {notice}"})
        self._news = ()
        ended = asyncio.create_task(asyncio.to_thread(process.wait))
        await asyncio.wait({ended, orders}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            how = ended.result()
            if sandbox.timed_out and not orders.done():
                await _tell(writer, {"log": f"moat-nb: {sandbox.gone}"})
                relay.asleep(self._prefix, str(sandbox.gone))
                return True
            if how.code != 0:
                reason = sandbox.gone or limits.overdue or how.told
                await _tell(writer, {"log": f"moat-nb: the kernel ended: {reason}"})
                relay.ended(self._prefix, f"the kernel ended: {reason}")
            await _tell(writer, {"exited": _shell_code(how)})
        else:
            await asyncio.to_thread(self._end_kernel)
            await ended
        return False

    async def _obey(self, reader: asyncio.StreamReader) -> None:
        """Until the shim goes."""
        while line := await reader.readline():
            if (process := self._process) is not None:
                with contextlib.suppress(MoatError):
                    await asyncio.to_thread(process.signal, int(json.loads(line)["signal"]))

    def _end_kernel(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None


class _Flag:
    """Set from a thread, waited for in the loop in which it was made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def set(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()
        self._event.clear()


async def _tell(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        writer.write(json.dumps(message).encode() + b"\n")
        await writer.drain()


def _shell_code(how: Exit) -> int:
    return how.code if how.code >= 0 else 128 - how.code


def main() -> None:
    descriptor, address, project, runtime, trust_output, workspace = sys.argv[1:]
    first = socket.socket(fileno=int(descriptor))
    os.set_inheritable(first.fileno(), False)
    Path(address).unlink(missing_ok=True)  # of a keeper that was killed
    try:
        keeper = Keeper(project, runtime, trust_output=bool(trust_output), workspace=workspace)
        asyncio.run(keeper.run(first, address))
    finally:
        Path(address).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
