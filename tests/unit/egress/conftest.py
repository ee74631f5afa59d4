"""One internet for all of these tests, and a proxy for each that wants one."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.egress.internet import Internet, internet
from tests.egress.running import Running, running

Start = Callable[..., Running]


@pytest.fixture(scope="session")
def net() -> Iterator[Internet]:
    with tempfile.TemporaryDirectory(prefix="moat-net-") as path, internet(Path(path)) as made:
        yield made


@pytest.fixture
def start(net: Internet) -> Iterator[Start]:
    """``start(policy=..., rules=..., ...)``: any field of the options and their policy."""
    with contextlib.ExitStack() as undo:

        def started(**options: Any) -> Running:
            # pytest's own are longer than a socket's path may be.
            path = undo.enter_context(tempfile.TemporaryDirectory(prefix="moat-egress-"))
            return undo.enter_context(running(net, Path(path), **options))

        yield started


@pytest.fixture(scope="session")
def one_permissive(net: Internet) -> Iterator[Running]:
    with (
        tempfile.TemporaryDirectory(prefix="moat-egress-") as path,
        running(net, Path(path)) as proxy,
    ):
        yield proxy


@pytest.fixture
def permissive(one_permissive: Running) -> Iterator[Running]:
    """One for all tests that ask for nothing else of it, and do not read its records; what each
    opens is closed after it."""
    with one_permissive.for_a_while() as proxy:
        yield proxy
