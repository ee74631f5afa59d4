"""race.py: of several addresses one is connected to, and nothing of the others is left."""

from __future__ import annotations

import asyncio
import socket

import pytest

from moat_nb.egress.addresses import Address
from moat_nb.egress.order import Deadlines
from moat_nb.egress.race import _Race
from moat_nb.egress.streams import Plain


def test_of_two_that_connect_in_the_same_moment_one_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Connected(Plain):
        def __init__(self) -> None:
            self.closed = False
            made.append(self)

        def close(self) -> None:
            self.closed = True

    made: list[Connected] = []

    async def main() -> Plain:
        gate = asyncio.Event()
        begun: list[Address] = []
        race = _Race(Deadlines(), None, None)

        async def connect(address: Address) -> Plain:
            begun.append(address)
            if len(begun) == 2:
                gate.set()
            await gate.wait()
            return Connected()

        monkeypatch.setattr(race, "_connect", connect)
        monkeypatch.setattr("moat_nb.egress.race.HEAD_START_SECONDS", 0)
        address = Address(family=socket.AF_INET, sockaddr=("127.0.0.1", 1))
        winner = await race.run([address, address])
        await race.end()
        return winner

    winner = asyncio.run(main())
    assert sorted((stream is winner, stream.closed) for stream in made) == [
        (False, True),
        (True, False),
    ]
