"""Which limit was met, in words."""

from __future__ import annotations

import signal

import pytest

from moat_nb.planning.limits import MIB
from moat_nb.planning.spaces import Space
from moat_nb.sandbox.space_words import Held, no_space, parse, why_killed

SPACES = (
    Space(path="/dev/shm", size=64 * MIB, key="kernel.shm_size"),
    Space(path="/workspace", size=None),
    Space(path="/tmp", size=512 * MIB, key="kernel.tmp_size"),
)
HELD = {"/tmp": Held(512 * MIB, True), "/dev/shm": Held(MIB, False), "/else": Held(MIB, True)}


def test_what_is_full_is_named_with_its_key_and_nothing_that_was_not_planned() -> None:
    words = "/tmp is full: it can hold 512 MiB, which kernel.tmp_size raises"
    assert no_space(SPACES, HELD) == words
    disk = {"/workspace": Held(1, True)}
    assert no_space(SPACES, disk) == "/workspace is full: the host's disk is"


def test_what_each_can_hold_is_told_where_none_is_full_any_more() -> None:
    assert no_space(SPACES, {}) == (
        "no room was left in one of these, or on the host's disk: /dev/shm can hold 64 MiB "
        "(kernel.shm_size); /tmp can hold 512 MiB (kernel.tmp_size)"
    )


@pytest.mark.parametrize(
    ("signum", "oom", "held", "words"),
    [
        (signal.SIGKILL, True, HELD, "/tmp holds 512 MiB of it"),
        (signal.SIGKILL, True, {}, ""),
        (signal.SIGKILL, False, HELD, ""),
        (signal.SIGSEGV, False, HELD, ""),
        (
            *(signal.SIGBUS, False, HELD),
            "/tmp is full: it can hold 512 MiB, which kernel.tmp_size raises",
        ),
        (
            *(signal.SIGBUS, False, {}),
            "most likely /dev/shm is full: it can hold 64 MiB, which kernel.shm_size raises",
        ),
    ],
)
def test_a_death_is_explained_by_what_was_full(
    signum: int, oom: bool, held: dict[str, Held], words: str
) -> None:
    assert why_killed(signum, oom=oom, spaces=SPACES, held=held) == words


@pytest.mark.parametrize("found", [3, [3], [{}], [{"path": "/", "used": -1, "full": 1}]])
def test_what_is_no_such_message_is_refused(found: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse(found)
