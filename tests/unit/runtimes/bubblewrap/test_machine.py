"""Whether this machine can run bubblewrap."""

from dataclasses import replace

import pytest

from moat_nb.host.machine import Host
from moat_nb.runtimes.bubblewrap.runtime import Bubblewrap
from tests.unit.runtimes.bubblewrap.specs import FACTS


@pytest.mark.parametrize(
    "change, detail, hint",
    [
        ({"bwrap": None}, "bwrap is not installed", "apt-get install bubblewrap"),
        ({"version": (0, 6, 1)}, "bubblewrap 0.6.1 is too old", "0.7 or newer"),
        ({"prlimit": None}, "prlimit: not installed", "util-linux"),
        ({"machine": "riscv64"}, "no seccomp filter for riscv64", "docker"),
        ({"bwrap": "/bin/false"}, "exit code 1", "user namespaces"),
    ],
)
def test_a_machine_that_cannot_run_it_is_told_why_and_what_to_do(change, detail, hint, monkeypatch):
    monkeypatch.setattr("moat_nb.runtimes.bubblewrap.machine.PROBE_SECONDS", 60)
    found = Bubblewrap(Host.current(), replace(FACTS, **change)).available()
    assert (found.usable, detail in found.detail, hint in found.hint) == (False, True, True)


def test_this_machine_can_run_it(monkeypatch):
    monkeypatch.setattr("moat_nb.runtimes.bubblewrap.machine.PROBE_SECONDS", 60)
    found = Bubblewrap(Host.current()).available()
    assert (found.usable, found.hint) == (True, "")
    assert found.detail.startswith("bubblewrap ")
