"""What the tests on real sandboxes share: each runs on every runtime, and none is skipped."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from moat_nb import Sandbox
from moat_nb.host.machine import User
from tests.conftest import Engine, Project
from tests.egress.internet import Internet, internet
from tests.integration.leftovers import Watch

UNCLOSED_LOOPS = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. (<socket.socket|.*BaseEventLoop)"
    ":pytest.PytestUnraisableExceptionWarning"
)
"""For tests that use jupyter_client's blocking calls, which make event loops that nobody closes."""

MIB = 1 << 20

TRANSPORT = os.environ.get("MOAT_TEST_TRANSPORT")
"""What all sandboxes have as ``kernel.transport``: `make test-stream` has them all carried."""


@dataclass(kw_only=True)
class Launcher:
    """Makes projects, and starts their sandboxes on one runtime."""

    runtime: str
    owner: User
    engine: Engine | None
    """None where the runtime needs none."""
    _project: Project
    _running: list[Sandbox] = field(default_factory=list)
    _watches: list[Watch] = field(default_factory=list)

    def yaml(self, *, exclude: tuple[str, ...] = (), python: bool = False, **keys: Any) -> str:
        """A moat.yaml with ``exclude`` on the workspace; ``python`` when kernels are started."""
        kernel = {} if python else {"argv": ["python3", "{connection_file}"]}
        kernel |= {"transport": TRANSPORT} if TRANSPORT else {}
        text: dict[str, Any] = {
            "name": "test-box",
            "network": {"policy": "none"},
            "mounts": [{"source": ".", "target": "/workspace", "exclude": list(exclude)}],
            **keys,
            "kernel": {**kernel, **keys.get("kernel", {})},
        }
        if self.engine is not None:
            image = self.engine.kernel_image if python else self.engine.base_image
            text.setdefault("base_image", image)
        return yaml.safe_dump(text, allow_unicode=True)

    def project(self, *exclude: str, directory: str = "project", **keys: Any) -> Path:
        """A project of the owner's; see :meth:`yaml`."""
        made = self._project(self.yaml(exclude=exclude, **keys), directory)
        self._watches.append(Watch(made))
        return made

    def launch(self, project: Path, **options: Any) -> Sandbox:
        """Start it; it is stopped after the test, if the test did not. Who wrote the project's file
        is the test, which approves of it."""
        options = {"approve": lambda demands: True, **options}
        box = Sandbox.launch(project, self.runtime, **options)
        self._running.append(box)
        return box

    def give(self, path: Path, owner: User) -> None:
        """Make ``path`` somebody's, where the tests may."""
        if os.getuid() == 0:
            os.chown(path, owner.uid, owner.gid, follow_symlinks=False)

    def directory(self, path: Path) -> Path:
        """A directory as an earlier install left it: root:root 0755 where the tests run as root,
        as no kernel of ours could write to it."""
        path.mkdir(parents=True)
        path.chmod(0o755)
        return path

    def left(self, project: Path, seconds: float = 300) -> list[str]:
        """What a sandbox of ``project`` left behind; waits for it to go."""
        (watch,) = (watch for watch in self._watches if watch.project == project)
        return watch.left(self.engine, seconds=seconds)

    def end(self) -> None:
        for box in self._running:
            box.stop()
        left = [text for watch in self._watches for text in watch.left(self.engine, seconds=300)]
        assert left == []


@pytest.fixture(params=["docker", "bubblewrap"])
def launcher(request: pytest.FixtureRequest) -> Launcher:
    """Each runtime in turn; after the test nothing may be left of what was started on it."""
    found: Launcher = request.getfixturevalue(f"on_{request.param}")
    return found


@pytest.fixture
def on_docker(engine: Engine, project: Project, owner: User) -> Iterator[Launcher]:
    made = Launcher(runtime="docker", owner=owner, engine=engine, _project=project)
    yield made
    made.end()


@pytest.fixture(scope="module")
def net() -> Iterator[Internet]:
    with tempfile.TemporaryDirectory(prefix="moat-net-", dir="/var/tmp") as path:
        Path(path).chmod(0o755)
        with internet(Path(path)) as made:
            yield made


@pytest.fixture
def on_bubblewrap(project: Project, owner: User) -> Iterator[Launcher]:
    made = Launcher(runtime="bubblewrap", owner=owner, engine=None, _project=project)
    yield made
    made.end()


def wait_until(true: Callable[[], bool], seconds: float = 300) -> bool:
    """Whether ``true`` came true in time."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if true():
            return True
        time.sleep(0.05)
    return true()


def settle() -> None:
    """Until the threads that the end of a sandbox does not wait for have ended."""

    def running() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("moat-")}

    assert wait_until(lambda: running() <= {"moat-spawner"}), running()
