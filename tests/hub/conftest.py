"""Three students of this machine, a course, and a hub that serves them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hub.hub import Hub, Student, hub
from tests.hub.machine import Machine, machine_with, moat_config

NAMES = ("moatada", "moatbob", "moateve")


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    with machine_with(NAMES) as made:
        yield made


@pytest.fixture(scope="session")
def class_hub(machine: Machine) -> Iterator[Hub]:
    """The hub of docs/hub.md."""
    config = moat_config(machine.moat_yaml)
    with hub(machine.directory / "hub", machine.proxy, config) as made:
        yield made


@pytest.fixture(scope="session")
def students(class_hub: Hub) -> dict[str, Student]:
    return {name: class_hub.login(name) for name in NAMES}


@pytest.fixture
def ada(students: dict[str, Student]) -> Student:
    return students["moatada"]


@pytest.fixture
def bob(students: dict[str, Student]) -> Student:
    return students["moatbob"]


@pytest.fixture
def eve(students: dict[str, Student]) -> Student:
    return students["moateve"]
