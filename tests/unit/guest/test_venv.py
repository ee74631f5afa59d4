"""The virtual environment that the guest makes over the packages of its own interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from moat_nb.guest import venv

LOOK = "import json, sys, zmq; print(json.dumps([sys.prefix, sys.path, sys.version_info[:3]]))"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / ".venv"


def test_an_interpreter_that_starts_there_has_its_own_packages_before_those_below(
    directory: Path,
) -> None:
    env = venv.make(str(directory), {"PATH": "/usr/bin"})
    assert env["PATH"] == f"{directory}/bin:/usr/bin"
    done = subprocess.run(["python3", "-c", LOOK], env=env, capture_output=True, check=True)
    prefix, path, version = json.loads(done.stdout)
    assert prefix == str(directory)
    assert version == list(sys.version_info[:3])
    zmq = next(n for n, entry in enumerate(path) if Path(entry, "zmq").is_dir())
    assert path.index(str(directory / venv.LIB)) < zmq


def test_its_pip_installs_there(directory: Path) -> None:
    env = venv.make(str(directory), {"PATH": "/nowhere"})
    done = subprocess.run(["pip3", "--version"], env=env, capture_output=True, check=True)
    assert done.stdout.startswith(b"pip ")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run(["python3", "-c", where], env=env, capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(directory / venv.LIB)


def test_what_its_pip_installs_for_the_user_is_on_the_path_before_it_is_there(
    directory: Path,
) -> None:
    env = {**venv.make(str(directory), {"PATH": "/nowhere"}), "HOME": str(directory.parent)}
    user = str(directory.parent / ".local" / venv.LIB)
    look = "import json, site, sys; print(json.dumps([site.ENABLE_USER_SITE, sys.path]))"
    for variables, enabled in (({}, True), ({"PYTHONNOUSERSITE": "1"}, False)):
        words = ["python3", "-c", look]
        done = subprocess.run(words, env={**env, **variables}, capture_output=True, check=True)
        said, path = json.loads(done.stdout)
        assert (said, user in path) == (enabled, enabled)
    words = ["pip", "install", "--user", "--no-index", "--dry-run", "pip"]
    assert subprocess.run(words, env=env, capture_output=True, check=False).returncode == 0


def test_nothing_is_written_to_one_that_is_there(directory: Path) -> None:
    directory.mkdir()
    (directory / "pyvenv.cfg").write_text("the user's own")
    assert venv.make(str(directory), os.environ) == {}
    assert (directory / "pyvenv.cfg").read_text() == "the user's own"
    assert [path.name for path in directory.iterdir()] == ["pyvenv.cfg"]


def test_what_the_user_has_set_stays(directory: Path) -> None:
    env = venv.make(str(directory), {"PIP_NO_CACHE_DIR": "0", "NPM_CONFIG_PREFIX": "/npm"})
    assert (env["PIP_NO_CACHE_DIR"], env["NPM_CONFIG_PREFIX"]) == ("0", "/npm")


def test_there_is_none_where_it_cannot_be_made() -> None:
    assert venv.make("/proc/nowhere/.venv", {"PATH": "/bin"}) == {}


def test_a_package_in_the_place_of_one_that_is_imported_is_noticed(directory: Path) -> None:
    env = venv.make(str(directory), os.environ)
    assert not venv.shadows(env)
    (directory / venv.LIB / "moat_something_else.py").touch()
    assert not venv.shadows(env)
    (directory / venv.LIB / "pytest").mkdir()
    assert venv.shadows(env)
    assert not venv.shadows({})


def test_a_fork_sees_what_was_installed_before_the_packages_below(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = venv.make(str(directory), os.environ)
    added = directory / "added"
    added.mkdir()
    (directory / venv.LIB / "added.pth").write_text(f"{added}\n")
    before = list(sys.path)
    monkeypatch.setattr(sys, "path", list(before))
    monkeypatch.setattr(sys, "executable", sys.executable)
    venv.enter(env)
    assert sys.executable == f"{directory}/bin/python3"
    new = [str(directory / venv.LIB), str(added)]
    assert [path for path in sys.path if path not in before] == new
    below = next(n for n, path in enumerate(sys.path) if Path(path, "zmq").is_dir())
    assert sys.path.index(str(added)) < below
