"""Directories of handed-in notebooks, and the command that grades them, on each runtime."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests import ordinary_user
from tests.integration.conftest import Launcher, launcher, on_bubblewrap, on_docker

__all__ = ["Course", "course", "launcher", "notebook", "on_bubblewrap", "on_docker"]


def notebook(*cells: str) -> str:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    return nbformat.writes(made)


@dataclass(frozen=True, kw_only=True)
class Course:
    directory: Path
    runtime: str
    owner: Any

    def hand_in(self, students: Mapping[str, Sequence[str] | bytes]) -> None:
        """For each a directory with a notebook of these cells, or a file of these bytes."""
        for student, cells in students.items():
            place = self.directory / "handed-in" / student
            place.mkdir(parents=True)
            content = cells if isinstance(cells, bytes) else notebook(*cells).encode()
            (place / "ps1.ipynb").write_bytes(content)
        self.give(self.directory)

    def give(self, top: Path) -> None:
        give_all(top, self.owner)

    def grade(self, *options: str, root: bool = False, code: int = 0) -> dict[str, Any]:
        """What `moat-nb grade` says of each submission, as an ordinary user unless ``root``."""
        students = sorted(str(path) for path in (self.directory / "handed-in").iterdir())
        tests = ("--tests", str(self.directory / "tests.py"))
        words = [*students, *tests, "--project", str(self.directory), "--runtime", self.runtime]
        out = self.directory.parent / "grades"
        argv = [sys.executable, "-m", "moat_nb", "grade", *words, "--out", str(out), "--json"]
        home = self.directory.parent / "home"
        home.mkdir(exist_ok=True)
        self.give(self.directory.parent)
        env = {"PATH": os.environ["PATH"], "HOME": str(home)}
        env |= {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
        run = as_root if root else ordinary_user.run
        done = run([*argv, *options], env=env, timeout=1200, cwd=str(home))
        assert done.returncode == code, done.stdout + done.stderr
        found = json.loads(done.stdout)
        return {one["submission"]: one for one in found["submissions"]}


def give_all(top: Path, owner: Any) -> None:
    """Make all of it somebody's, where the tests may."""
    if os.getuid() == 0:
        for path in (top, *top.rglob("*")):
            os.chown(path, owner.uid, owner.gid, follow_symlinks=False)


def as_root(argv: Sequence[str], *, env: Mapping[str, str], **options: Any) -> Any:
    import subprocess

    options = {"capture_output": True, "text": True, **options}
    return subprocess.run(list(argv), env=dict(env), check=False, **options)


@pytest.fixture
def course(launcher: Launcher) -> Course:
    made = launcher.project(python=True, container={"memory": 1024})
    (made / "solutions").mkdir()
    (made / "solutions/secret.txt").write_text("the answer")
    yield Course(directory=made, runtime=launcher.runtime, owner=launcher.owner)
    shutil.rmtree(made.parent / "grades", ignore_errors=True)
