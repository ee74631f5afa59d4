"""What the guest runs on."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.guest.running import (
    GUEST,
    Start,
    tmpfs,
)

pytestmark = pytest.mark.machine  # a guest is the first process of a namespace


@pytest.mark.parametrize("path", sorted(GUEST.glob("*.py")), ids=lambda path: path.name)
def test_it_is_written_in_python_3_8_and_its_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.split(".")[0])
    assert imported - {"ipykernel", "zmq"} <= sys.stdlib_module_names


def pythons() -> dict[str, str]:
    """``{X.Y: executable}`` of the interpreters on this machine, from 3.8 on."""
    directories = [Path(part) for part in os.environ["PATH"].split(":")]
    directories += Path.home().glob(".pyenv/versions/*/bin")
    found = {}
    for directory in directories:
        for path in (
            *directory.glob("python3"),
            *directory.glob("python3.[0-9]"),
            *directory.glob("python3.[0-9][0-9]"),
        ):
            ask = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"]
            answer = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.split()
            if len(answer) == 2 and tuple(map(int, answer[0].split("."))) >= (3, 8):
                found[answer[0]] = answer[1]
    return found


def test_each_python_of_this_machine_from_3_8_on_runs_it(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "e"
    for version, python in pythons().items():
        guest = start(mounts=[("directory", path)], setup=tmpfs(path), python=python)
        ready = guest.hear("ready")
        assert ".".join(map(str, ready["python"][:2])) == version
        id = guest.spawn(["cat"], stdin=True)
        guest.tell("input", b"x", id=id)
        guest.tell("input", id=id)
        assert guest.finish(id) == (0, None), version
        assert guest.refusal([]) == "Invalid argument: no command was given"
        assert guest.end() == 0
