"""What the tests share: one engine and one image (tests/shared.py), and projects to start."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from moat_nb.host.machine import User
from tests.integration import table
from tests.ordinary_user import ORDINARY
from tests.service_images import ServiceImages
from tests.shared import Ask, Owner

Project = Callable[..., Path]

ASK = pytest.StashKey[Ask]()
OWNER = pytest.StashKey[Owner]()
CHANGES = pytest.StashKey[list[str]]()
"""Of the run's first process alone."""

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


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(table)
    given = getattr(config, "workerinput", {}).get("moat_run")
    if given is None:
        config.stash[OWNER] = Owner()
    config.stash[ASK] = config.stash[OWNER].ask if given is None else Ask(**given)
    # What is approved for the tests' projects is kept there, and not in the user's home.
    os.environ["XDG_DATA_HOME"] = f"{config.stash[ASK].directory}/data"


TESTS = Path(__file__).parent
MACHINE = {"engine", "net", "bubblewrap"}
"""Fixtures that need more of the machine than python3."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark those that ``make unit`` leaves out, and have the longest begin first."""
    for item in items:
        elsewhere = TESTS / "unit" not in item.path.parents
        skipped = item.get_closest_marker("skipif") is not None  # for want of a right
        if elsewhere or skipped or MACHINE & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.machine)
    items.sort(key=lambda item: item.path.name != "test_scale.py")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Of pytest-xdist: before it starts a worker."""
    node.workerinput["moat_run"] = node.config.stash[ASK].fields()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """After the last worker's end: the machine must be as it was."""
    if OWNER in session.config.stash:
        changes = session.config.stash[OWNER].close()
        session.config.stash[CHANGES] = changes
        if changes:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if changes := config.stash.get(CHANGES, []):
        terminalreporter.section("FAILED: not left as it was found", red=True)
        terminalreporter.write("".join(f"{line}\n" for line in changes))


def pytest_unconfigure(config: pytest.Config) -> None:
    if OWNER in config.stash:
        config.stash[OWNER].close()


@pytest.fixture(scope="session")
def ask(pytestconfig: pytest.Config) -> Ask:
    return pytestconfig.stash[ASK]


@pytest.fixture
def alone(ask: Ask) -> Iterator[None]:
    """Held by one test of the run at a time, whichever worker runs it.

    Not by a group of pytest-xdist's (3.8), which has no effect with pytest 9.2.
    """
    with FileLock(f"{ask.directory}/alone.lock"):
        yield


@pytest.fixture(scope="session")
def run_directory(ask: Ask) -> Path:
    """A directory of this worker's that every user may pass, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="w", dir=ask.directory))
    directory.chmod(0o711)
    return directory


@pytest.fixture(scope="session")
def engine(ask: Ask) -> Iterator[Engine]:
    """The engine that answers, else a private one; a run without an engine fails."""
    facts = ask("engine")
    before = os.environ.get("DOCKER_HOST")
    os.environ["DOCKER_HOST"] = facts["url"]
    client = docker.DockerClient(base_url=facts["url"], timeout=300)
    try:
        yield Engine(
            url=facts["url"],
            client=client,
            base_image=facts["base"],
            kernel_image=facts["kernel"],
        )
    finally:
        client.close()
        os.environ.pop("DOCKER_HOST")
        if before is not None:
            os.environ["DOCKER_HOST"] = before


@pytest.fixture(scope="session")
def services(ask: Ask, engine: Engine) -> ServiceImages:
    """Images of real PostgreSQL, MariaDB and Redis servers."""
    return ServiceImages(**ask("services"))


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
