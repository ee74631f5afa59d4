"""What the tests of several rooms share."""

import os

import pytest

from moat_nb.host.run_directory import Owner, RunDir
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
