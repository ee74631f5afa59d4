"""Our program of another machine, run on this one: a shell takes ssh's place."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from moat_nb.runtimes.elsewhere.connection import Connection
from moat_nb.runtimes.elsewhere.program import command

Connect: TypeAlias = Callable[..., Connection]


@pytest.fixture
def there(tmp_path: Path) -> dict[str, str]:
    """The environment of that machine's user."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }


@pytest.fixture
def connect(there: dict[str, str]) -> Iterator[Connect]:
    """``connect(script)``: a connection; ``PROGRAM`` in the script is ours."""
    made: list[Connection] = []

    def make(script: str = "PROGRAM") -> Connection:
        words = script.replace("PROGRAM", command(sys.executable))
        made.append(Connection(("sh", "-c", words), there, "there"))
        return made[-1]

    yield make
    for connection in made:
        connection.close()
