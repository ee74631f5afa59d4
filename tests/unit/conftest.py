"""What the tests of several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moat_nb.config.model import Config
from moat_nb.config.reader import read_config
from moat_nb.host.machine import Host
from moat_nb.host.run_directory import Owner, RunDir
from tests.unit.projects import ADA, Make
from tests.unit.sandboxes import DEAD, sandbox_state


@pytest.fixture
def base(tmp_path):
    """A stale sandbox, one that ended under its launcher, and one that is starting."""
    for id in ("aaaaaaaa", "bbbbbbbb", "cccccccc"):
        (tmp_path / id).mkdir()
    RunDir(tmp_path / "aaaaaaaa").write_state(sandbox_state("aaaaaaaa", "box", DEAD, started=2.0))
    me = Owner.of(os.getpid())
    RunDir(tmp_path / "bbbbbbbb").write_state(sandbox_state("bbbbbbbb", "box", me, started=1.0))
    return tmp_path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    (directory / "p").mkdir(parents=True)
    if os.getuid() == 0:
        os.chown(directory / "p", ADA.uid, ADA.gid)
    return directory


@pytest.fixture
def host(home: Path) -> Host:
    return Host(
        user=ADA,
        home=home,
        data_dir=home / ".local/share/moat-nb",
        memory=8 << 30,
        executable="/venv/bin/python",
        prefixes=("/venv",),
    )


@pytest.fixture
def config(home: Path) -> Make:
    def make(text: str = "") -> Config:
        path = home / "p" / "moat.yaml"
        return read_config(f"name: p\n{text}".encode(), path=path, home=home)

    return make
