"""The relay of one port, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moat_nb.jupyter.relay import CHUNK, Relay


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short, as the path of a socket must be."""
    with tempfile.TemporaryDirectory(prefix="moat-nb-t", dir="/tmp") as path:
        yield Path(path)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What a kernel does here: it answers what it gets."""
    while data := await reader.read(CHUNK):
        writer.write(data.upper())
    writer.close()


def given(transport: str, directory: Path) -> dict[str, Any]:
    if transport == "ipc":
        return {"transport": "ipc", "ip": str(directory / "client"), "shell_port": 1}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return {"transport": "tcp", "ip": "127.0.0.1", "shell_port": probe.getsockname()[1]}


async def connect(info: dict[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if info["transport"] == "ipc":
        return await asyncio.open_unix_connection(f"{info['ip']}-{info['shell_port']}")
    return await asyncio.open_connection(info["ip"], info["shell_port"])


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_bytes_are_carried_both_ways_to_a_kernel_that_listens_later(
    transport: str, directory: Path
) -> None:
    sent = bytes(range(97, 123)) * (CHUNK // 8)

    async def main() -> bytes:
        info, inside = given(transport, directory), str(directory / "kernel")
        relay = await Relay.open(info, "shell_port", inside)
        reader, writer = await connect(info)
        writer.write(sent)
        await asyncio.sleep(0.05)  # the client has connected, and there is no kernel yet
        kernel = await asyncio.start_unix_server(echo, inside)
        answer = await reader.readexactly(len(sent))
        writer.close()
        await relay.close()
        kernel.close()
        return answer

    assert asyncio.run(main()) == sent.upper()


def test_the_end_of_a_relay_is_the_end_of_its_connections_and_of_its_port(directory: Path) -> None:
    async def main() -> None:
        info = given("tcp", directory)
        relay = await Relay.open(info, "shell_port", str(directory / "kernel"))
        reader, writer = await connect(info)  # waits for a kernel that never comes
        await asyncio.sleep(0.05)
        await relay.close()
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(OSError):
            await connect(info)

    asyncio.run(main())


def test_a_port_that_is_taken_is_an_error(directory: Path) -> None:
    async def main() -> None:
        info = given("tcp", directory)
        first = await Relay.open(info, "shell_port", str(directory / "kernel"))
        with pytest.raises(OSError):
            await Relay.open(info, "shell_port", str(directory / "other"))
        await first.close()

    asyncio.run(main())
