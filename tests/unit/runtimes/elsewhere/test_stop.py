"""The end of a sandbox elsewhere, whose launcher is another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from moat_nb.host.run_directory import Owner, SandboxState
from moat_nb.runtimes.elsewhere.stop import CARRIER, end, is_running

STATE = SandboxState.__new__(SandboxState)
"""Nothing of it is asked."""


def test_the_ssh_that_a_start_has_noted_is_ended_and_no_other(tmp_path: Path) -> None:
    sockets = tmp_path / "s"
    assert not is_running(STATE, sockets, {}) and not end(STATE, sockets, {})
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        noted = Owner.of(process.pid)
        assert noted is not None
        (tmp_path / CARRIER).write_text(f"{noted.pid}:1:{noted.boot}")
        assert not is_running(STATE, sockets, {}) and not end(STATE, sockets, {})
        assert process.poll() is None
        (tmp_path / CARRIER).write_text(str(noted))
        assert is_running(STATE, sockets, {})
        assert end(STATE, sockets, {})
        process.wait(10)
    assert not end(STATE, sockets, {})


def test_a_note_that_is_none_is_no_sandbox(tmp_path: Path) -> None:
    for text in ("", "1", "a:b:c", "1:2:3:4"):
        (tmp_path / CARRIER).write_text(text)
        assert not is_running(STATE, tmp_path / "s", {})
