"""The launcher of the integration tests on each engine in turn, and the table of what held."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from moat_nb.host.machine import User
from moat_nb.runtimes.docker.engine import ask_facts
from tests.conftest import Engine, Project
from tests.engines.images import kernel_image
from tests.engines.kinds import ENGINES, Kind
from tests.engines.namespace import running
from tests.engines.preparing import Preparations, preparing
from tests.engines.table import TABLE, Table
from tests.integration.conftest import Launcher
from tests.shared import remove_images

BUBBLEWRAP = "bubblewrap"


@dataclass(kw_only=True)
class EngineLauncher(Launcher):
    """One whose projects all say ``keys`` too."""

    keys: Mapping[str, Mapping[str, Any]]

    def yaml(self, **keys: Any) -> str:
        merged = {name: {**value, **keys.get(name, {})} for name, value in self.keys.items()}
        return super().yaml(**{**keys, **merged})


@pytest.fixture(scope="session", params=[BUBBLEWRAP, *ENGINES], ids=lambda p: getattr(p, "name", p))
def kind(request: pytest.FixtureRequest) -> Kind | None:
    """Which engine; None for bubblewrap, which is none, and first, as nothing is made for it."""
    return request.param if isinstance(request.param, Kind) else None


@pytest.fixture(scope="session")
def cache(run_directory: Path) -> Path:
    """Where root filesystems are kept, from run to run if a developer says where."""
    return Path(os.environ.get("MOAT_TEST_CACHE") or run_directory / "image")


@pytest.fixture(scope="session", autouse=True)
def preparations(request: pytest.FixtureRequest, cache: Path) -> Iterator[Preparations | None]:
    """Begun with the first test, of whatever engine; None if no test needs any."""
    wanted = [item.callspec.params["kind"] for item in request.session.items]
    kinds = [kind for kind in wanted if isinstance(kind, Kind)]
    if not kinds:
        yield None
        return
    with preparing(kinds, cache) as made:
        yield made


@pytest.fixture(scope="session")
def engine(
    kind: Kind | None,
    run_directory: Path,
    cache: Path,
    preparations: Preparations | None,
    pytestconfig: pytest.Config,
) -> Iterator[Engine | None]:
    """This engine is the one that sandboxes find, with the images of the tests on it."""
    table = pytestconfig.stash[TABLE]
    if kind is None or preparations is None:
        table.engines[BUBBLEWRAP] = BUBBLEWRAP
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", "unix:///no-engine.sock")
            yield None
        return
    root = preparations.roots[kind.suite].result()
    with (
        running(kind, run_directory / kind.name, root) as socket,
        pytest.MonkeyPatch.context() as patch,
    ):
        url = f"unix://{socket}"
        patch.setenv("DOCKER_HOST", url)
        table.engines[kind.name] = kind.title(ask_facts(socket).version)
        client = docker.DockerClient(base_url=url)
        try:
            preparations.image.result()
            with kernel_image(client, cache) as image:
                yield Engine(url=url, client=client, base_image=image, kernel_image=image)
                remove_images(client, run_directory, {image})
        finally:
            client.close()


@pytest.fixture
def launcher(
    kind: Kind | None,
    engine: Engine | None,
    project: Project,
    owner: User,
    request: pytest.FixtureRequest,
) -> Iterator[Launcher]:
    """After the test nothing may be left of what was started on it.

    What the engine cannot do must fail, and with the error that is written down for it.
    """
    if cannot := _cannot(request.node):
        mark = pytest.mark.xfail(reason=cannot.cell, raises=cannot.raises, strict=True)
        request.applymarker(mark)
    made = EngineLauncher(
        runtime=kind.runtime if kind else BUBBLEWRAP,
        owner=owner,
        engine=engine,
        keys=kind.keys if kind else {},
        _project=project,
    )
    yield made
    made.end()


def _engine(item: pytest.Function) -> str:
    return getattr(item.callspec.params["kind"], "name", BUBBLEWRAP)


def _cannot(item: pytest.Function) -> Any:
    """What is written down of this test on its engine, if anything: a ``Cannot``."""
    return item.module.CANNOT.get(_engine(item), {}).get(item.function)


def _as_written(item: pytest.Function, call: pytest.CallInfo[None]) -> bool:
    """Whether a test that failed with the expected type also says what is written down."""
    return call.excinfo is not None and re.search(_cannot(item).says, str(call.excinfo.value))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = Table()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if hasattr(report, "wasxfail") and not _as_written(item, call):
        report.outcome = "failed"
        del report.wasxfail
    table = item.config.stash[TABLE]
    table.cells = table.cells or {behaviour: {} for behaviour in item.module.BEHAVIOURS}
    table.add(item.module.row(item.function), _engine(item), report)
    return report


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    table = config.stash[TABLE]
    if table.engines:
        terminalreporter.section("engines")
        terminalreporter.write(table.text())
    path = os.environ.get("MOAT_TEST_TABLE")
    if path and exitstatus == pytest.ExitCode.OK:
        table.renew(Path(path))
