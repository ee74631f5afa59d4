"""Of several addresses one is connected to, and nothing of the others is left."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from moat_nb.egress.options import Deadlines
from moat_nb.egress.policy.verdict import Failed
from moat_nb.egress.proxy.happy_eyeballs import connect_first
from moat_nb.egress.proxy.resolver import Address

UNROUTED = Address(family=socket.AF_INET, sockaddr=("255.255.255.255", 9))
"""To which connecting fails at once, and not as where nobody listens."""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


@pytest.fixture
def deaf() -> Iterator[Address]:
    """Nobody listens there, and nobody else comes to."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield Address(family=socket.AF_INET, sockaddr=sock.getsockname())


def address(sock: socket.socket) -> Address:
    return Address(family=socket.AF_INET, sockaddr=sock.getsockname())


def others_end(listening: socket.socket) -> list[bytes | None]:
    """What each connection that was made reads: None for one that is still open."""
    found: list[bytes | None] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            sock, _ = listening.accept()
            with sock:
                sock.setblocking(False)
                try:
                    found.append(sock.recv(1))
                except BlockingIOError:
                    found.append(None)
    return found


def test_of_two_that_connect_in_the_same_moment_one_is_closed(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> list[bytes | None]:
        winner = await connect_first([address(listening)] * 2, Deadlines())
        try:
            return others_end(listening)
        finally:
            winner.close()

    monkeypatch.setattr("moat_nb.egress.proxy.happy_eyeballs.HEAD_START_SECONDS", 0)
    found = asyncio.run(main())
    assert found.count(None) == 1
    assert set(found) <= {None, b""}


def test_the_next_address_is_connected_to_where_the_first_fails(
    listening: socket.socket, deaf: Address
) -> None:
    async def main() -> list[bytes | None]:
        winner = await connect_first([UNROUTED, deaf, address(listening)], Deadlines())
        try:
            return others_end(listening)
        finally:
            winner.close()

    assert asyncio.run(main()) == [None]


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("other", [True, False])
def test_why_none_is_connected_to_is_told_without_an_address(
    deaf: Address, before: int, other: bool
) -> None:
    addresses = [UNROUTED if other else deaf] * before + [deaf]
    with pytest.raises(Failed) as failed:
        asyncio.run(connect_first(addresses, Deadlines()))
    assert failed.value.reason == "cannot be reached: Connection refused"
