"""Three students of this machine, a course, and a hub that serves them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hub.hub import Hub, Student, hub

NAMES = ("moatada", "moatbob", "moateve")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the tests have made of it."""

    directory: Path
    proxy: Path
    moat_yaml: Path

    def home(self, name: str) -> Path:
        return Path(pwd.getpwnam(name).pw_dir)


COURSE = """\
name: course
network: {policy: none}
container: {memory: 512}
kernel: {require_limits: true, pids: 128}
"""


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """Removed with all that is in it, the users too."""
    assert os.getuid() == 0, "a hub of several system users is root's: run `make test-hub` as root"
    directory = Path(tempfile.mkdtemp(prefix="moat-nb-hub-", dir="/var/tmp"))
    directory.chmod(0o755)
    made: list[str] = []
    try:
        proxy = _proxy(directory / "proxy")
        course = directory / "course"
        course.mkdir()
        (course / "moat.yaml").write_text(COURSE)
        (directory / "homes").mkdir()
        for name in NAMES:
            _add(name, directory / "homes")
            made.append(name)
        yield Machine(directory=directory, proxy=proxy, moat_yaml=course / "moat.yaml")
    finally:
        for name in made:
            uid = pwd.getpwnam(name).pw_uid
            _run("userdel", name)
            shutil.rmtree(f"/tmp/moat-nb-{uid}", ignore_errors=True)
        shutil.rmtree(directory, ignore_errors=True)


def _add(name: str, homes: Path) -> None:
    _run("useradd", "--create-home", "--base-dir", str(homes), "--shell", "/bin/sh", name)
    # As on many machines of a class: what keeps a home from others here is the sandbox alone.
    (homes / name).chmod(0o755)


def _proxy(directory: Path) -> Path:
    """configurable-http-proxy, from npm."""
    directory.mkdir()
    _run(
        *("npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(directory)),
        "configurable-http-proxy@5",
    )
    return directory / "node_modules/.bin/configurable-http-proxy"


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"


def moat_config(moat_yaml: Path, more: str = "") -> str:
    return (
        f'c.JupyterHub.spawner_class = "moat"\nc.MoatSpawner.moat_yaml = {str(moat_yaml)!r}\n{more}'
    )


@pytest.fixture(scope="session")
def class_hub(machine: Machine) -> Iterator[Hub]:
    """The hub of docs/hub.md."""
    config = moat_config(machine.moat_yaml)
    with hub(machine.directory / "hub", machine.proxy, config) as made:
        yield made


@pytest.fixture(scope="session")
def students(class_hub: Hub) -> dict[str, Student]:
    return {name: class_hub.login(name) for name in NAMES}


@pytest.fixture
def ada(students: dict[str, Student]) -> Student:
    return students["moatada"]


@pytest.fixture
def bob(students: dict[str, Student]) -> Student:
    return students["moatbob"]


@pytest.fixture
def eve(students: dict[str, Student]) -> Student:
    return students["moateve"]
