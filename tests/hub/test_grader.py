"""`moat-nb grade` by root on bubblewrap without systemd: its limits hold by a cgroup of its own
making, or it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.hub.machine import COURSE, Machine

BOMB = "held = bytearray(900 << 20)\nheld[::4096] = b'x' * len(held[::4096])\nprint('taken')"
NO_CGROUPS = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs -o ro none /sys/fs/cgroup; exec "$@"',
)


def grade(
    machine: Machine, name: str, course: str, *before: str
) -> subprocess.CompletedProcess[str]:
    directory, home = machine.directory / name, machine.directory / "teacher"
    home.mkdir(exist_ok=True)
    for student, cell in (("ada", "print(6 * 7)"), ("eve", BOMB)):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
        place = directory / "handed-in" / student
        place.mkdir(parents=True)
        (place / "n.ipynb").write_text(nbformat.writes(notebook))
    (directory / "moat.yaml").write_text(course)
    words = [*sorted(map(str, (directory / "handed-in").iterdir())), "--project", str(directory)]
    argv = [sys.executable, "-m", "moat_nb", "grade", *words, "--runtime", "bubblewrap", "--json"]
    return subprocess.run(
        [*before, *argv, "--out", str(directory / "grades")],
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_memory_bomb_is_out_of_memory_and_the_next_is_graded(machine: Machine) -> None:
    done = grade(machine, "graded", COURSE)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {one["submission"]: one["verdict"] for one in json.loads(done.stdout)["submissions"]}
    assert found == {"ada": "passed", "eve": "out of memory"}


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd gives a scope")
def test_where_no_cgroup_can_be_made_it_refuses(machine: Machine) -> None:
    done = grade(machine, "refused", COURSE, *NO_CGROUPS, "no-cgroups")
    assert done.returncode != 0
    assert "kernel.require_limits: memory cannot be limited here" in done.stderr
