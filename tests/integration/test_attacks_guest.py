"""Attacks on the guest from inside its sandbox, as the user that it runs as itself.

The control is the same attack in the same sandbox, on a plain process of the attacker's own.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moat_nb import Sandbox
from tests.integration.conftest import Launcher, wait_until

ATTACKS = {
    "kill the guest": ("kill", "lives", "dead"),
    "end the guest by other signals": ("terminate", "lives", "dead"),
    "stop the guest": ("stop", "runs", "stopped"),
    "trace the guest": ("trace", "EPERM", "attached"),
    "read the guest's memory": ("read_memory", "EACCES", "read"),
    "write the guest's memory": ("write_memory", "EACCES", "opened"),
    "take the guest's descriptors": ("take_descriptors", "EACCES", "listed"),
    "read the guest's environment": ("read_environment", "EACCES", "read"),
}
"""The function, what is expected, and what happens to a plain process."""


@pytest.fixture
def box(launcher: Launcher) -> Sandbox:
    project = launcher.project()
    shutil.copy(Path(__file__).with_name("attacks_on_guest.py"), project)
    return launcher.launch(project)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_guest_withstands_its_own_user(
    launcher: Launcher, box: Sandbox, name: str, table: Any
) -> None:
    function, expected, control = ATTACKS[name]

    def tried(victim: str) -> str:
        argv = ["python3", "attacks_on_guest.py", function, victim]
        return box.run(argv, cwd="/workspace").stdout.decode().strip()

    happened, controlled = tried("1"), tried("child")
    table(name, launcher.runtime, expected, happened, controlled)
    assert (happened, controlled) == (expected, control)
    assert box.gone is None
    assert box.run(["true"]).returncode == 0


ORPHAN = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(0.2)
        os._exit(3)
    os._exit(0)
os.wait()
"""
ZOMBIES = "cat /proc/[0-9]*/stat 2>/dev/null | cut -d' ' -f3 | grep -c Z; true"


def test_the_guest_reaps_what_nobody_waits_for_and_keeps_its_own_exit_codes(box: Sandbox) -> None:
    for _ in range(20):
        assert box.run(["python3", "-c", ORPHAN]).returncode == 0
        assert box.run(["sh", "-c", "exit 7"]).returncode == 7
    assert wait_until(lambda: box.run(["sh", "-c", ZOMBIES]).stdout == b"0\n")


@pytest.fixture
def kernel(launcher: Launcher) -> Iterator[Any]:
    box = launcher.launch(launcher.project(python=True))
    with box.start_kernel() as first:
        yield first


KERNEL = """
import ctypes, os
own = os.stat("/proc/self/mem").st_uid == os.getuid()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), os.getppid(), own)
"""


def test_a_kernel_may_be_looked_into_before_and_after_a_restart(kernel: Any) -> None:
    """By debuggers and profilers, which run as the same user."""
    for _ in range(2):
        assert printed(kernel.kc) == "1 1 True\n"
        kernel.restart_kernel(now=True)
        kernel.kc.wait_for_ready(timeout=300)


def printed(client: Any) -> str:
    pieces: list[str] = []
    client.execute_interactive(
        KERNEL,
        timeout=300,
        output_hook=lambda message: pieces.append(message["content"].get("text", "")),
    )
    return "".join(pieces)


def test_a_kernel_that_kills_all_it_can_leaves_the_guest_to_tell_of_it(
    launcher: Launcher, box: Sandbox, table: Any
) -> None:
    other = box.spawn(["sleep", "1000"])
    assert box.run(["python3", "-c", "import os; os.kill(-1, 9)"]).returncode == 0
    how = other.wait(timeout=300)
    happened = "the guest tells" if how.code == -signal.SIGKILL else str(how)
    table("kill(-1, SIGKILL)", launcher.runtime, "the guest tells", happened, "-")
    assert happened == "the guest tells"
    assert box.run(["true"]).returncode == 0
