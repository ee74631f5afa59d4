"""Guests that are run for real, and end with their test."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.guest.running import Guest, Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    guests = []

    def start(**options: Any) -> Guest:
        guests.append(Guest(tmp_path, **options))
        return guests[-1]

    yield start
    for each in guests:
        each.discard()


@pytest.fixture
def guest(start: Start) -> Guest:
    """A guest without excludes that has said it is ready."""
    guest = start()
    ready = guest.hear("ready")
    assert ready.pop("sources")["/proc"][1] == "/"
    assert ready == {
        "type": "ready",
        "mounts": [],
        "python": list(sys.version_info[:3]),
    }
    return guest


@pytest.fixture
def sockets() -> Iterator[str]:
    """A directory whose path is short enough for sockets."""
    directory = tempfile.mkdtemp(prefix="moat-", dir="/tmp")
    yield directory
    shutil.rmtree(directory)
