"""Attacks that bubblewrap let through once: memory that nothing limits (E1 of issue 11), and what
lies beside the interpreter (B1). Docker is tried beside it."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.leftovers import cgroups

MEMORY_MB = 256


@dataclass(frozen=True, kw_only=True)
class Attack:
    name: str
    function: str
    inside: tuple[str, ...] = ()
    """Its arguments in a sandbox."""


ATTACKS = [
    Attack(name="shared mapping", function="shared_mapping"),
    Attack(name="memfd", function="memory_file"),
    Attack(name="memory of many processes", function="many_processes"),
    Attack(
        name="all tmpfs filled",
        function="scratch",
        inside=("/tmp", "/home/moat", "/workspace/node_modules", "/dev/shm"),
    ),
]
FILE = Path(__file__).with_name("memory_attacks.py")


def set_up(project):
    shutil.copy(FILE, project / FILE.name)
    return project


@pytest.fixture
def control(run_directory):
    """``control(attack)``: what happens in a plain process of the host."""

    def tried(attack):
        arguments = [str(run_directory)] if attack.inside else []
        argv = [sys.executable, str(FILE), attack.function, *arguments]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=300)
        finally:
            (run_directory / "fill").unlink(missing_ok=True)
        return done.stdout.strip()

    return tried


def run_inside(box, attack):
    output = bytearray()
    process = box.spawn(
        ["python3", f"/workspace/{FILE.name}", attack.function, *attack.inside],
        on_output=lambda _, data: output.extend(data),
    )
    how = process.wait(timeout=300)
    if how.oom:
        assert "container.memory" in str(how)
        return "OOM-killed"
    return output.decode().strip() or str(how)


@pytest.mark.parametrize("restarted", [False, True], ids=["first start", "restart"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_memory_ends_at_its_limit_however_it_is_taken(launcher, attack, restarted, table, control):
    project = launcher.project("node_modules", container={"memory": MEMORY_MB})
    box = launcher.launch(set_up(project))
    if restarted:
        box.reset()
    happened = run_inside(box, attack)
    controlled = control(attack)
    name = f"{attack.name}{', after a restart' if restarted else ''}"
    table(name, launcher.runtime, "OOM-killed", happened, controlled)
    assert (happened, controlled) == ("OOM-killed", "400 MiB taken")
    used = box.usage().memory
    assert used is not None
    assert used <= MEMORY_MB << 20
    id = box.sockets.parent.name
    assert (cgroups(id) != []) == (launcher.runtime == "bubblewrap")
    box.stop()
    assert cgroups(id) == []
