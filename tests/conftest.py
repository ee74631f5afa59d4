"""What the tests share: one engine and one image for the run, and projects to start."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from hypothesis import HealthCheck, settings

from moat_nb.host.machine import User
from tests.base_image import base_images
from tests.engine import find_or_start
from tests.ordinary_user import ORDINARY

Project = Callable[..., Path]

# No test asserts a time: the first text that is drawn takes seconds, until its tables are cached.
settings.register_profile("moat", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("moat")

# A run in the background of a shell ignores Ctrl-C, and so would every program that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True, kw_only=True)
class Engine:
    url: str
    client: docker.DockerClient
    base_image: str
    """Debian with python3 and pip."""
    kernel_image: str
    """The same with ipykernel."""


@pytest.fixture(scope="session")
def run_directory() -> Iterator[Path]:
    """A directory of this test run that every user may pass, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="moat-nb-tests-", dir="/var/tmp"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def engine(run_directory: Path) -> Iterator[Engine]:
    """The engine that answers, else a private one; a run without an engine fails."""
    path, private = find_or_start(run_directory / "engine")
    before = os.environ.get("DOCKER_HOST")
    os.environ["DOCKER_HOST"] = f"unix://{path}"
    client = docker.DockerClient(base_url=f"unix://{path}")
    # The root filesystem takes half a minute; a developer may keep it from run to run.
    cache = Path(os.environ.get("MOAT_TEST_CACHE") or run_directory / "image")
    try:
        with base_images(client, cache) as images:
            yield Engine(
                url=f"unix://{path}",
                client=client,
                base_image=images.plain,
                kernel_image=images.kernel,
            )
            remove_images(client)
    finally:
        client.close()
        if private is not None:
            private.stop()
        os.environ.pop("DOCKER_HOST")
        if before is not None:
            os.environ["DOCKER_HOST"] = before


def remove_images(client: docker.DockerClient) -> None:
    """Those of the tests' projects; on an engine that is not ours nothing must be left."""
    for image in client.api.images():
        for tag in image["RepoTags"] or ():
            # Those with a run's number are removed by that run, which may not be this one.
            if re.match(r"moat-nb/test-(?![0-9a-f]{8}:)", tag):
                client.images.remove(tag)


@pytest.fixture(scope="session")
def owner() -> User:
    """Who owns the tests' projects: never root, as a workspace of root's is read-only inside."""
    return ORDINARY if os.getuid() == 0 else User(os.getuid(), os.getgid())


def make_project(parent: Path, owner: User, text: str, name: str = "project") -> Path:
    """A project with that moat.yaml, the user's own, in a new directory below ``parent``."""
    place = Path(tempfile.mkdtemp(dir=parent))
    place.chmod(0o755)
    directory = place / name
    directory.mkdir()
    (directory / "moat.yaml").write_text(text)
    for path in (directory, directory / "moat.yaml"):
        os.chown(path, owner.uid, owner.gid)
    return directory


@pytest.fixture
def project(run_directory: Path, owner: User) -> Iterator[Project]:
    """``project(text, name)``: :func:`make_project`, for the time of a test."""
    made = []

    def make(text: str, name: str = "project") -> Path:
        made.append(make_project(run_directory, owner, text, name))
        return made[-1]

    yield make
    for directory in made:
        shutil.rmtree(directory.parent)
