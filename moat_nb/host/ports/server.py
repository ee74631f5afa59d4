"""Carries connections from a port of this machine to the guest's socket of that port."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from moat_nb.host.ports.head import Answer, answer_to, no_answer
from moat_nb.host.ports.options import Listening, PortsOptions

__all__ = ["serve"]

CHUNK = 64 << 10
"""Bytes that are read at once; twice as many wait at most for an end that reads slowly."""

LONGEST_HEAD = 64 << 10

LINGER_SECONDS = 2.0
"""For a client to end after the sandbox's server, or we, said the last word."""

NO_HEAD = Answer(status=400, text="the request's head is too long, or did not arrive")
TOO_MANY = Answer(status=503, text="the sandbox has too many connections")


async def serve(options: PortsOptions) -> None:
    """Until it is cancelled."""
    connections: set[asyncio.Task[None]] = set()
    servers = []
    for listening in options.listening:
        entrance = _Entrance(listening, options, connections)
        sock = socket.socket(fileno=listening.listen_fd)
        sock.set_inheritable(False)
        servers.append(await asyncio.start_server(entrance.arrived, sock=sock, limit=LONGEST_HEAD))
    try:
        await asyncio.Event().wait()
    finally:
        for server in servers:
            server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


class _Entrance:
    """Of one port; ``connections`` are those of all."""

    def __init__(
        self, listening: Listening, options: PortsOptions, connections: set[asyncio.Task[None]]
    ) -> None:
        self._door = listening.door
        self._path = f"/proc/self/fd/{listening.socket_fd}"
        self._options = options
        self._connections = connections

    async def arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self._options.connections:
            writer.write(TOO_MANY.encode())
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            answer = await self._carry(reader, writer)
            if answer is not None:
                await _say(answer, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # an end hung up, or the process ends
        finally:
            writer.close()
            self._connections.discard(task)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Answer | None:
        """What is to be said in place of the sandbox, if anything."""
        try:
            waited = reader.readuntil(b"\r\n\r\n")
            head = await asyncio.wait_for(waited, self._options.head_seconds)
        except asyncio.IncompleteReadError as error:
            return NO_HEAD if error.partial else None
        except (asyncio.LimitOverrunError, asyncio.TimeoutError):
            return NO_HEAD
        answer = answer_to(head, self._door)
        if answer is not None:
            return answer
        try:
            source, sink = await asyncio.open_unix_connection(self._path, limit=CHUNK)
        except OSError:
            return no_answer(self._door)
        there = asyncio.create_task(_pour(reader, sink, head))
        back = asyncio.create_task(_answer(source, writer))
        try:
            return no_answer(self._door) if await _both(there, back) == 0 else None
        finally:
            sink.transport.abort()


async def _both(there: asyncio.Task[int], back: asyncio.Task[int]) -> int | None:
    """Until both ways have ended, or one has broken; what came back, None where it broke."""
    try:
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        if there.done() and there.exception() is None:
            await asyncio.wait({back})
        elif there.done():  # one of the two hung up; if the sandbox did, the way back ends too
            await asyncio.wait({back}, timeout=LINGER_SECONDS)
        elif back.exception() is None and back.result() > 0:
            await asyncio.wait({there}, timeout=LINGER_SECONDS)
        return back.result() if back.done() and back.exception() is None else None
    finally:
        there.cancel()
        back.cancel()
        await asyncio.gather(there, back, return_exceptions=True)


async def _answer(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> int:
    """What the sandbox says; 0 where it ends without a word, and then the client hears none yet."""
    try:
        first = await source.read(CHUNK)
    except ConnectionError:
        return 0  # what was sent there was never read
    return await _pour(source, sink, first) if first else 0


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter, data: bytes) -> int:
    """``data`` and all of ``source``, then that it has ended; how much there was."""
    count = 0
    while data:
        count += len(data)
        sink.write(data)
        await sink.drain()
        data = await source.read(CHUNK)
    with contextlib.suppress(OSError):
        sink.write_eof()
    return count


async def _say(answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """To a client that may be about to send more: where that is never read, the system takes our
    words back."""
    writer.write(answer.encode())
    await writer.drain()
    writer.write_eof()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_drop(reader), LINGER_SECONDS)


async def _drop(reader: asyncio.StreamReader) -> None:
    while await reader.read(CHUNK):
        pass
