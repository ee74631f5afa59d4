"""The reaper: nothing is left of a start, whoever was killed at whatever moment, and nothing of
anybody else's is removed."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker.errors
import pytest

from moat_nb.host.reaper import Reaper
from tests.conftest import Engine

SECONDS = 30.0
"""How long after a death something may be left, as the design says."""


@pytest.fixture
def reaper() -> Iterator[Reaper]:
    reaper = Reaper()
    yield reaper
    reaper.finish()


def await_true(true: Callable[[], bool], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert true()


def identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def make(reaper: Reaper, root: Path, relative: str) -> None:
    """A mount point, promised and made as a start does it."""
    reaper.mount_point(str(root), relative, None)
    path = root / relative
    if relative.endswith("file"):
        path.touch()
    else:
        path.mkdir()
    reaper.mount_point(str(root), relative, identity(path))


# ---------------------------------------------------------------- a launcher that stops


def test_finish_removes_all_that_was_promised_and_nothing_beside_it(tmp_path: Path) -> None:
    reaper = Reaper()
    (tmp_path / "kept").mkdir()
    run = tmp_path / "run"
    reaper.directory(str(run))
    (run / "s").mkdir(parents=True)
    (run / "log").write_text("x")
    for relative in ("a", "a/b", "a/file"):
        make(reaper, tmp_path, relative)
    reaper.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_finish_may_be_called_again(tmp_path: Path) -> None:
    reaper = Reaper()
    reaper.directory(str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    reaper.finish()
    reaper.finish()
    assert list(tmp_path.iterdir()) == []


def test_what_was_promised_and_never_made_does_no_harm(tmp_path: Path) -> None:
    reaper = Reaper()
    reaper.container(str(tmp_path / "no.sock"), "x")
    reaper.directory(str(tmp_path / "run"))
    reaper.mount_point(str(tmp_path), "a/b", None)
    reaper.mount_point(str(tmp_path / "nowhere"), "a", None)
    (tmp_path / "last").mkdir()
    reaper.directory(str(tmp_path / "last"))
    reaper.finish()
    assert list(tmp_path.iterdir()) == []


def test_one_thread_may_finish_while_others_promise(tmp_path: Path) -> None:
    reaper = Reaper()
    threads = [
        threading.Thread(target=lambda n=n: reaper.directory(str(tmp_path / str(n))))  # type: ignore[misc]
        for n in range(20)
    ]
    for n, thread in enumerate(threads):
        (tmp_path / str(n)).mkdir()
        thread.start()
    for thread in threads:
        thread.join()
    reaper.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_reaper_that_was_killed_is_made_up_for_by_the_launcher(tmp_path: Path) -> None:
    reaper = Reaper()
    make(reaper, tmp_path, "before")
    reaper._process.kill()
    reaper._process.wait()
    make(reaper, tmp_path, "after")
    reaper.finish()
    reaper.finish()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_all_of_the_launchers_processes_does_not_keep_it_from_its_work(
    tmp_path: Path, signum: signal.Signals
) -> None:
    reaper = Reaper()
    make(reaper, tmp_path, "a")
    await_true(lambda: ignores(reaper._process.pid, signum))
    reaper._process.send_signal(signum)
    time.sleep(0.1)
    assert reaper._process.poll() is None
    reaper.finish()
    assert reaper._process.returncode == 0
    assert list(tmp_path.iterdir()) == []


def ignores(pid: int, signum: int) -> bool:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigIgn:"):
            return bool(int(line.split()[1], 16) >> (signum - 1) & 1)
    return False


# ---------------------------------------------------------------- a launcher that is killed

LAUNCHER = """
import os, signal, sys
from pathlib import Path
from moat_nb.host.reaper import Reaper

base, steps = Path(sys.argv[1]), int(sys.argv[2])

def step():
    global steps
    if steps == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    steps -= 1

def identity(path):
    status = path.lstat()
    return status.st_dev, status.st_ino

reaper = Reaper()
print(reaper._process.pid, flush=True)
step()
reaper.directory(str(base / "run"))
step()
(base / "run").mkdir()
(base / "run" / "log").write_text("x")
step()
for name in ("a", "a/b"):
    reaper.mount_point(str(base), name, None)
    step()
    (base / name).mkdir()
    step()
    reaper.mount_point(str(base), name, identity(base / name))
    step()
sys.stdin.read()
"""
STEPS = 9


@pytest.mark.parametrize("steps", range(STEPS + 1))
def test_a_launcher_that_is_killed_at_any_step_leaves_nothing(tmp_path: Path, steps: int) -> None:
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(tmp_path), str(steps)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with launcher:
        assert launcher.stdout is not None
        pid = int(launcher.stdout.readline())
        if steps == STEPS:  # the whole start; it is killed while it runs
            await_true((tmp_path / "a" / "b").is_dir)
            launcher.kill()
        assert launcher.wait(timeout=300) == -signal.SIGKILL
        await_true(lambda: list(tmp_path.iterdir()) == [])
        await_true(lambda: not runs(pid))


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# ---------------------------------------------------------------- containers

CONTAINER_LAUNCHER = """
import os, signal, sys
from moat_nb.host.reaper import Reaper

reaper = Reaper()
reaper.container(sys.argv[1], sys.argv[2])
print("promised", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def name(engine: Engine) -> Iterator[str]:
    name = f"moat-nb-test-{secrets.token_hex(4)}"
    yield name
    for container in engine.client.containers.list(
        all=True, filters={"name": name}, ignore_removed=True
    ):
        container.remove(force=True)


def exists(engine: Engine, name: str) -> bool:
    try:
        engine.client.containers.get(name)
    except docker.errors.NotFound:
        return False
    return True


def create(engine: Engine, name: str) -> None:
    engine.client.api.create_container(
        engine.base_image,
        ["sleep", "1000"],
        name=name,
        host_config=engine.client.api.create_host_config(network_mode="none"),
    )


@pytest.mark.engine
@pytest.mark.parametrize("running", [False, True])
def test_finish_removes_a_container(engine: Engine, name: str, running: bool) -> None:
    reaper = Reaper()
    reaper.container(engine.url.removeprefix("unix://"), name)
    create(engine, name)
    if running:
        engine.client.api.start(name)
    reaper.finish()
    assert not exists(engine, name)


@pytest.mark.engine
@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_a_container_that_the_engine_makes_after_the_launchers_death_is_removed(
    engine: Engine, name: str, delay: float
) -> None:
    # What a launcher's last request looks like to the engine: it is carried out a little later.
    words = [sys.executable, "-c", CONTAINER_LAUNCHER, engine.url.removeprefix("unix://"), name]
    done = subprocess.run(words, capture_output=True, check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL
    time.sleep(delay)
    create(engine, name)
    await_true(lambda: not exists(engine, name), seconds=SECONDS)


@pytest.mark.engine
def test_an_engine_that_does_not_answer_keeps_nothing_else_from_being_removed(
    tmp_path: Path,
) -> None:
    reaper = Reaper()
    reaper.directory(str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    reaper.container(str(tmp_path / "no.sock"), "x")
    reaper.finish()
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_is_stuck_is_waited_for_by_the_reaper_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(tmp_path / "sock"))
        stuck.listen()
        reaper = Reaper()
        reaper.directory(str(tmp_path / "run"))
        (tmp_path / "run").mkdir()
        reaper.container(str(tmp_path / "sock"), "x")
        reaper.finish(0.2)
        assert (tmp_path / "run").is_dir()
    await_true(lambda: not (tmp_path / "run").exists())
    await_true(lambda: not [t for t in threading.enumerate() if t.name == "moat-reaper"])
    assert reaper._process.returncode == 0
