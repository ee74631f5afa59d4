"""The process that leads a socket here to an engine elsewhere."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from moat_nb.runtimes.docker.forwarder import Forwarder


def test_without_connections_it_ends_after_a_while(
    echo: tuple[str, int], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(runs / "engine")

    async def serve() -> None:
        forwarder = Forwarder(path, lambda: asyncio.open_connection(*echo), idle_seconds=0.1)
        serving = asyncio.ensure_future(forwarder.serve())
        while not (Path(path).exists() or serving.done()):  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)
        connection = await asyncio.open_unix_connection(path)
        done = await asyncio.wait({serving}, timeout=3)
        assert not done[0]  # somebody is connected
        connection[1].close()
        await serving

    asyncio.run(serve())
    assert capsys.readouterr().out == "ready\n"
    assert not Path(path).exists()
