"""Attacks of a student, at our hub and at one with JupyterHub's own spawner as the control."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from tests.hub.attacks import CASES, Attack, Scene
from tests.hub.conftest import NAMES
from tests.hub.hub import Hub, Student, hub
from tests.hub.machine import ORDINARY, Machine


def write(name: str, path: Path, text: str) -> None:
    """As the student's own file."""
    user = pwd.getpwnam(name)
    missing = [parent for parent in (path.parent, *path.parents) if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for one in (path, *missing):
        os.chown(one, user.pw_uid, user.pw_gid)


def scene_of(machine: Machine, students: dict[str, Student]) -> Scene:
    eve, bob = students["moateve"], students["moatbob"]
    write("moatbob", machine.home("moatbob") / "work/answer.txt", "bob's answer")
    (machine.home("moatbob") / "work").chmod(0o755)  # what keeps it from eve is the sandbox alone
    write("moateve", machine.home("moateve") / "private.txt", "eve's own")
    empty = nbformat.writes(nbformat.v4.new_notebook())
    write("moateve", machine.home("moateve") / "work/n.ipynb", empty)
    return Scene(
        eve=eve,
        bob=bob,
        kernel=eve.kernel(),
        bobs_kernel=bob.kernel(),
        homes=str(machine.directory / "homes"),
    )


@pytest.fixture(scope="module")
def scene(machine: Machine, students: dict[str, Student]) -> Scene:
    return scene_of(machine, students)


@pytest.fixture(scope="module")
def control_hub(machine: Machine) -> Iterator[Hub]:
    with hub(machine.directory / "control", machine.proxy, ORDINARY) as made:
        yield made


@pytest.fixture(scope="module")
def control(machine: Machine, control_hub: Hub, scene: Scene) -> Scene:
    """After ours, so that it finds nothing that the control has written."""
    for name in NAMES:
        write(name, machine.home(name) / "work/own.txt", name)
    return scene_of(machine, {name: control_hub.login(name) for name in ("moateve", "moatbob")})


@pytest.mark.parametrize("attack", CASES, ids=lambda attack: attack.__name__)
def test_it_fails_here(scene: Scene, attack: Attack) -> None:
    assert attack(scene) == CASES[attack][0]


@pytest.mark.parametrize("attack", CASES, ids=lambda attack: attack.__name__)
def test_it_works_without_us_or_the_hub_refuses_it_itself(control: Scene, attack: Attack) -> None:
    assert attack(control) == CASES[attack][1]
