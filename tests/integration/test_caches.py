"""kernel.cache: kept for the next sandbox of the project, and for no other project's."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.cli.clean import clean
from moat_nb.host.machine import Host
from moat_nb.planning.caches import directory_of
from tests.integration.conftest import Launcher

CACHE = {"cache": ["pip", "huggingface", "torch", "matplotlib"]}
HOME_CACHE = "/home/moatuser/.cache"

LEAVE = f"""
set -e
for name in huggingface torch matplotlib; do echo kept > {HOME_CACHE}/$name/file; done
mkdir {HOME_CACHE}/other
ln -s /etc/passwd {HOME_CACHE}/torch/link
"""
LOOK = f"cat {HOME_CACHE}/*/file; ls {HOME_CACHE}"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's data directory."""
    tmp_path.chmod(0o711)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def test_what_a_sandbox_leaves_the_next_of_its_project_finds(
    launcher: Launcher, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = launcher.project(kernel=CACHE)
    other = launcher.project(kernel=CACHE, directory="other")
    with launcher.launch(project) as box:
        box.run(["sh", "-c", LEAVE], check=True)
        assert box.run(["sh", "-c", "echo ${PIP_NO_CACHE_DIR-unset}"]).stdout == b"\n"
        assert clean(images=False, caches=True) == 0  # not while a sandbox has it
    with launcher.launch(project) as box:
        assert box.run(["sh", "-c", LOOK]).stdout.split() == [
            *(b"kept", b"kept", b"kept"),
            *(b"huggingface", b"matplotlib", b"pip", b"torch"),
        ]
    with launcher.launch(other) as box:
        assert box.run(["sh", "-c", f"cat {HOME_CACHE}/*/file"]).returncode != 0
    kept = directory_of(str(project), Host.current())
    assert kept.parent == data / "moat-nb/caches"
    assert kept.stat().st_mode & 0o777 == (kept / "torch").stat().st_mode & 0o777 == 0o700
    assert (kept / "torch").stat().st_uid == launcher.owner.uid
    capsys.readouterr()
    assert clean(images=False) == 0
    assert "the caches of 2 projects stay in" in capsys.readouterr().out
    assert clean(images=False, caches=True) == 0
    assert f"removed cache {kept}" in capsys.readouterr().out
    assert list(kept.parent.iterdir()) == []
    assert Path("/etc/passwd").exists()
