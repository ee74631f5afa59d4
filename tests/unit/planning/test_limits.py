"""Limits and hardening, in words."""

from __future__ import annotations

from moat_nb.planning.limits import MIB, Hardening, Limits, limits_in_words


def test_limits_are_told_in_a_line() -> None:
    limits = Limits(memory=512 * MIB, cpus=1.5, ulimits=(("core", 0, 0), ("nproc", 5, -1)))
    assert limits_in_words(limits) == (
        "memory 512 MiB, 512 processes, 1.5 CPUs, /dev/shm 64 MiB, core 0, nproc 5/unlimited"
    )
    assert "all CPUs" in limits_in_words(Limits(memory=MIB))


def test_each_thing_that_was_loosened_is_told() -> None:
    assert Hardening().loosened() == ()
    loose = Hardening(cap_drop=(), no_new_privileges=False, read_only_root=False)
    assert loose.loosened() == (
        "capabilities dropped: only none",
        "programs may gain privileges (setuid)",
        "the root filesystem can be written",
    )
