"""`moat-nb allow`, and the question of a terminal."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moat_nb.cli.demo import _project
from moat_nb.host.machine import Host
from moat_nb.sandbox.approval import Records, check
from moat_nb.sandbox.project import plan_project
from tests.unit.projects import NO_ENGINE

Moat = Callable[..., Any]
SECRET = "secrets: {KEY: 'env://KEY'}\n"
LINE = "moat.yaml:1:1: secret KEY (env://KEY)"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "p"
    made.mkdir(mode=0o755)
    (made / "moat.yaml").write_text(SECRET)
    return made


@pytest.fixture
def short() -> Iterator[str]:
    """A directory whose path is short enough for sandboxes, of which there are none."""
    with tempfile.TemporaryDirectory(prefix="moat-", dir="/var/tmp") as made:
        yield made


@pytest.fixture
def moat(tmp_path: Path, directory: Path, short: str) -> Moat:
    env = {**os.environ, **NO_ENGINE, "XDG_DATA_HOME": str(tmp_path / "data")}
    env["XDG_RUNTIME_DIR"] = short

    def run(*words: str, answer: bytes | None = None) -> Any:
        argv = [sys.executable, "-m", "moat_nb", *words]
        if answer is None:
            return subprocess.run(
                argv, cwd=directory, env=env, capture_output=True, text=True, check=False
            )
        ours, theirs = pty.openpty()
        with os.fdopen(ours, "wb", buffering=0) as terminal:
            terminal.write(answer)
            try:
                return subprocess.run(
                    argv, cwd=directory, env=env, stdin=theirs, stderr=theirs, check=False
                )
            finally:
                os.close(theirs)

    return run


def test_it_says_what_is_asked_and_keeps_it_until_it_is_revoked(
    moat: Moat, directory: Path
) -> None:
    refused = moat("allow")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.count(LINE) == 1
    assert f"nobody can be asked here; if you want this, run: moat-nb allow {directory} --yes" in (
        refused.stderr
    )
    assert f"- {LINE}" in moat("plan", "--runtime", "docker").stdout
    assert moat("allow", "--yes").stdout == f"  {LINE}\napproved\n"
    assert "nothing to approve" in moat("allow").stdout
    assert "needs approval" not in moat("plan", "--runtime", "docker").stdout
    listed = moat("allow", "--list").stdout.splitlines()
    assert listed[0] == str(directory) and "  secret KEY (env://KEY)" in listed
    assert moat("allow", "--revoke").stdout == f"revoked: {directory}\n"
    assert moat("allow", "--list").stdout == ""
    again = moat("allow", "--revoke")
    assert again.returncode == 1 and "nothing was approved there" in again.stderr


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"\n", 1), (b"no\n", 1)])
def test_a_terminal_is_asked(moat: Moat, answer: bytes, code: int) -> None:
    assert moat("allow", answer=answer).returncode == code
    assert bool(moat("allow", "--list").stdout) == (code == 0)


def test_a_place_of_keys_is_allowed_by_its_name_alone(moat: Moat, directory: Path) -> None:
    place = directory.parent / ".ssh"
    place.mkdir()
    (directory / "moat.yaml").write_text(f"mounts: ['{place}:/s:ro']\n")
    refused = moat("allow", "--yes")
    assert refused.returncode == 1
    assert f"moat-nb allow {directory} --keys {place}" in refused.stderr
    assert moat("allow", "--yes", "--keys", str(place)).returncode == 0


def test_clean_forgets_projects_that_are_gone(moat: Moat, directory: Path) -> None:
    other = directory.parent / "other"
    other.mkdir(mode=0o755)
    shutil.copy(directory / "moat.yaml", other)
    for project in (directory, other):
        assert moat("allow", str(project), "--yes").returncode == 0
    shutil.rmtree(other)
    assert f"removed approval of {other}\n" in moat("clean").stdout
    assert f"{other}\n" not in moat("allow", "--list").stdout
    assert f"{directory}\n" in moat("allow", "--list").stdout


def test_the_demo_leaves_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    records = Records(Host.current().approvals)
    with _project() as project:
        check(plan_project(project, "docker", environ=NO_ENGINE))
        assert [record.project for record in records] == [str(project)]
    assert list(records) == []


def test_install_refuses_in_the_same_words(moat: Moat, directory: Path, tmp_path: Path) -> None:
    words = ("--runtime", "docker")
    said = moat("install", *words, f"--prefix={tmp_path}").stderr
    assert LINE in said and "moat-nb allow" in said
    assert not (tmp_path / "share").exists()
