"""A kernel made ahead of need: what it is handed over to, and what is forked beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.guest.running import IN_PARTS, KERNEL, PRELOAD, Guest, Start, ask, connection

pytestmark = pytest.mark.machine  # a guest is the first process of a namespace


@pytest.fixture
def ready(start: Start, sockets: str) -> Guest:
    """A guest with a spare kernel, which listens at ``sockets``/spare."""
    guest = start(preload=PRELOAD)
    guest.hear("ready")
    guest.tell("spare", prefix=f"{sockets}/spare", after=0)
    guest.hear("spare")
    return guest


def listening(sockets: str) -> set[str]:
    return {path.name for path in Path(sockets).iterdir()}


def five(name: str) -> set[str]:
    return {f"{name}-{number}" for number in range(1, 6)}


def test_the_spare_becomes_the_kernel_that_is_asked_for_and_listens_already(
    ready: Guest, sockets: str, tmp_path: Path
) -> None:
    assert listening(sockets) == five("spare")
    (tmp_path / "there").mkdir()
    env = {"MINE": "yes"}
    ready.spawn(
        KERNEL, fork=True, connection=connection(f"{sockets}/k"), env=env, cwd=f"{tmp_path}/there"
    )
    assert listening(sockets) == five("k")  # a fork would have none yet
    asked = "[__import__('os').getcwd(), __import__('os').environ['MINE']]"
    assert ask(f"{sockets}/k", asked) == [f"{tmp_path}/there", "yes"]
    assert ask(f"{sockets}/k", IN_PARTS)


@pytest.mark.parametrize(
    "changes",
    [
        {"connection": {"shell_port": 6}},
        {"connection": {"curve_secretkey": "x"}},
        {"elsewhere": "IPYTHONDIR"},
        {"elsewhere": "HOME"},
        {"argv": [*KERNEL, "--debug"]},
    ],
    ids=["ports", "curve", "IPYTHONDIR", "HOME", "argv"],
)
def test_what_it_cannot_become_is_made_otherwise_and_it_stays(
    ready: Guest, sockets: str, tmp_path: Path, changes: dict[str, Any]
) -> None:
    asked = {**connection(f"{sockets}/k"), **changes.get("connection", {})}
    argv = changes.get("argv", KERNEL)
    env = {changes["elsewhere"]: f"{tmp_path}/elsewhere"} if "elsewhere" in changes else {}
    id = ready.spawn(argv, fork=True, connection=asked, env=env)
    assert five("spare") <= listening(sockets)
    ready.tell("signal", id=id, signum=9)
    assert ready.finish(id) == (None, 9)


def test_a_spare_that_was_killed_leaves_no_socket_and_a_kernel_is_forked(
    ready: Guest, sockets: str
) -> None:
    ready.run("kill -9 $(pgrep -P 1 python)")
    ready.spawn(KERNEL, fork=True, connection=connection(f"{sockets}/k"))
    assert ask(f"{sockets}/k", "1 + 1") == 2
    assert listening(sockets) == five("k")
