"""host/scratch.py: a directory that nobody finds afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moat_nb.host.scratch import scratch_directory

HOLD = """
import sys
from moat_nb.host.scratch import scratch_directory
with scratch_directory("moat-nb-held-", sys.argv[1]) as directory:
    (directory / "file").touch()
    print("made", flush=True)
    sys.stdin.read()
"""


def test_it_is_its_owners_alone_and_goes_with_the_block_whatever_happens(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        scratch_directory("moat-nb-x-", str(tmp_path)) as directory,
    ):
        assert directory.parent == tmp_path
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "below").mkdir()
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_killed_leaves_none(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        assert [path.name[:13] for path in tmp_path.iterdir()] == ["moat-nb-held-"]
        process.send_signal(signal.SIGKILL)
    while list(tmp_path.iterdir()):
        time.sleep(0.05)
