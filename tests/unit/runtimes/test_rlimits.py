"""Limits as rlimits, none above its cap."""

from __future__ import annotations

from moat_nb.planning.limits import MIB, Limits
from moat_nb.runtimes.rlimits import rlimits


def test_no_limit_is_above_its_cap_and_a_cap_holds_by_itself() -> None:
    ulimits = (("nproc", 5, -1), ("core", 0, 0), ("nofile", 10, 20), ("stack", -1, -1))
    assert rlimits(Limits(memory=MIB, ulimits=ulimits), nproc=9, nofile=15, data=7) == {
        "core": "0:0",
        "data": "7:7",
        "nofile": "10:15",
        "nproc": "5:9",
        "stack": "unlimited:unlimited",
    }
