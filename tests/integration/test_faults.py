"""What fails beside a sandbox: the engine, a disk, the workspace, the relay. A clear error or a
recovery follows, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest
from jupyter_client.manager import KernelManager

from moat_nb.errors import MoatError, RuntimeUnavailable
from moat_nb.host.machine import User
from moat_nb.host.run_directory import base_directory, make_base
from moat_nb.jupyter.kernel_manager import Kernel
from tests import ordinary_user
from tests.base_image import base_images
from tests.conftest import Engine, Project
from tests.engine import PrivateEngine
from tests.integration.conftest import UNCLOSED_LOOPS, Launcher, wait_until
from tests.integration.servers import Server, serving
from tests.integration.test_jupyter import Installed, connected, installed, run, runtime
from tests.shared import Ask

__all__ = ["installed", "runtime"]

pytestmark = UNCLOSED_LOOPS


@pytest.fixture
def own(run_directory: Path) -> Iterator[PrivateEngine]:
    """An engine that a test may harm."""
    engine = PrivateEngine(run_directory / "own-engine")
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def on_own(
    own: PrivateEngine, ask: Ask, project: Project, owner: User, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Launcher]:
    url = f"unix://{own.socket}"
    monkeypatch.setenv("DOCKER_HOST", url)
    client = docker.DockerClient(base_url=url, timeout=300)
    cache = Path(os.environ.get("MOAT_TEST_CACHE") or Path(ask.directory, "image"))
    with base_images(client, cache) as images:
        engine = Engine(url=url, client=client, base_image=images.plain, kernel_image=images.kernel)
        made = Launcher(runtime="docker", owner=owner, engine=engine, _project=project)
        yield made
        made.end()
    client.close()


ROOT = pytest.mark.skipif(
    os.getuid() != 0, reason="only root can start an engine of the test's own"
)


def containers(launcher: Launcher, project: Path) -> list[str]:
    assert launcher.engine is not None
    filters = {"label": f"moat.nb.project={project}"}
    return [found["Id"] for found in launcher.engine.client.api.containers(filters=filters)]


def deleted(server: Server, kernel: str) -> bool:
    """In the middle of an automatic restart, jupyter_client (8.10) raises InvalidStateError."""
    with contextlib.suppress(urllib.error.HTTPError):
        server.ask("DELETE", f"api/kernels/{kernel}")
    return server.kernels() == []


# ---------------------------------------------------------------- the engine


@ROOT
def test_a_kernel_has_a_new_sandbox_when_its_engine_was_killed_and_started_again(
    own: PrivateEngine, on_own: Launcher, run_directory: Path, table: Any
) -> None:
    project = on_own.project(python=True)
    with serving(project, "docker", run_directory, ordinary=True) as server:
        kernel = server.start_kernel()
        (before,) = containers(on_own, project)
        own.kill_daemon()
        assert wait_until(lambda: before not in containers(on_own, project))
        assert wait_until(lambda: len(containers(on_own, project)) == 1)
        assert "the engine ended" in server.log.read_text()
        assert server.kernels() == [kernel]
        assert wait_until(lambda: deleted(server, kernel))
        assert on_own.left(project) == []
    table("engine killed, and started again", "docker", "a new sandbox", "a new sandbox", "-")


@ROOT
def test_an_engine_that_is_frozen_for_half_a_minute_ends_no_sandbox(
    own: PrivateEngine, on_own: Launcher, table: Any
) -> None:
    runs, starts, stops = (on_own.project() for _ in range(3))
    box, ended = on_own.launch(runs), on_own.launch(stops)
    process = box.spawn(["sh", "-c", "sleep 5; exit 7"])
    engine = own.pid
    assert engine is not None
    os.kill(engine, signal.SIGSTOP)
    try:
        thaw = time.monotonic() + 30
        ended.stop()
        assert time.monotonic() < thaw, "the stop waited for the engine"
        with pytest.raises(RuntimeUnavailable, match="does not answer for 10 s; it is busy or stu"):
            on_own.launch(starts)
        time.sleep(max(0, thaw - time.monotonic()))
    finally:
        os.kill(engine, signal.SIGCONT)
    assert process.wait(timeout=300).code == 7
    assert box.run(["true"]).returncode == 0
    assert on_own.left(stops) == []
    assert on_own.launch(starts).run(["true"]).returncode == 0
    table("engine frozen for 30 s", "docker", "goes on", "goes on", "-")
    table("stop while the engine is frozen", "docker", "ends", "ends", "-")
    table("start while the engine is frozen", "docker", "refused", "refused", "-")


# ---------------------------------------------------------------- disks

FULL = """
set -eu
listing=$3
mount -t tmpfs -o size=64k,nr_inodes=64 moat-tests /mnt
chown --reference="$1" /mnt
chmod --reference="$1" /mnt
[ ! -e "$1/moat.yaml" ] || cp -a "$1/moat.yaml" /mnt
mount --move /mnt "$1"
head -c 1m /dev/zero > "$1/fill" 2> /dev/null || true
n=0
if [ "$2" = files ]; then
    while mkdir "$1/fill-$n" 2> /dev/null; do n=$((n+1)); done
fi
disk=$1
shift 3
code=0
"$@" || code=$?
find "$disk" -mindepth 1 ! -name 'fill*' ! -name moat.yaml -printf '%f\n' > "$listing"
exit $code
"""
"""A disk at $1, with the moat.yaml that was there and no room for more: for no byte, or for no file
($2) either. What the command behind it has left there beside it is listed in $3."""


def on_full_disk(
    disk: str, room: str, user: User, argv: list[str], env: dict[str, str]
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """How it ended, and the names of what it left on the disk."""
    words, extra = ordinary_user.command(argv) if user.uid != os.getuid() else (argv, {})
    own = ["--user", "--map-current-user", "--keep-caps"] if os.getuid() else []
    with tempfile.NamedTemporaryFile("r") as listing:
        done = subprocess.run(
            [
                "unshare",
                "--mount",
                *own,
                "sh",
                "-c",
                FULL,
                "full",
                disk,
                room,
                listing.name,
                *words,
            ],
            env={**os.environ, **env, **extra},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return done, listing.read().split()


@pytest.fixture(params=[False, True], ids=["root", "ordinary"])
def user(request: pytest.FixtureRequest, owner: User) -> User:
    return owner if request.param else User(os.getuid(), os.getgid())


@pytest.fixture
def places(project: Project, user: User) -> dict[str, str]:
    """The directories of a user's own where a launcher writes."""
    found = {}
    for name in ("XDG_RUNTIME_DIR", "XDG_DATA_HOME"):
        place = project("", name[4:6].lower())
        place.chmod(0o700)
        os.chown(place, user.uid, user.gid)
        found[name] = str(place)
    return found


@pytest.mark.parametrize(
    ("full", "room", "says"),
    [
        ("workspace", "files", "/a/new/exclude: cannot make the mount point: No space left on"),
        ("run directory", "files", ": cannot be made: No space left on device"),
        ("run directory", "bytes", "No space left on device"),
    ],
)
def test_a_start_on_a_full_disk_says_so_and_leaves_nothing(
    launcher: Launcher,
    user: User,
    places: dict[str, str],
    full: str,
    room: str,
    says: str,
    table: Any,
) -> None:
    project = launcher.project("a/new/exclude")
    disk = str(project)
    if full == "run directory":
        base = base_directory(places, user.uid)
        make_base(base)
        os.chown(base, user.uid, user.gid)
        disk = str(base)
    argv = [sys.executable, "-m", "moat_nb", "run", project, "--runtime", launcher.runtime]
    done, left = on_full_disk(disk, room, user, [*map(str, argv), "--", "true"], places)
    assert done.returncode == 125
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert launcher.left(project) == []
    assert [path.name for path in project.iterdir()] == ["moat.yaml"]
    assert left == []
    table(
        f"start with no room for {room} in the {full}", launcher.runtime, "refused", "refused", "-"
    )


def test_an_approval_that_a_full_disk_has_no_room_for_is_told(
    on_bubblewrap: Launcher, user: User, places: dict[str, str]
) -> None:
    project = on_bubblewrap.project(kernel={"pids": 5000})
    for room in ("files", "bytes"):
        argv = [sys.executable, "-m", "moat_nb", "allow", "--yes", str(project)]
        done, left = on_full_disk(places["XDG_DATA_HOME"], room, user, argv, places)
        assert done.returncode == 1
        assert "cannot be kept: [Errno 28] No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        assert set(left) <= {"moat-nb", "approvals"}  # the place for them, and no file


FILL = """
import errno, sys
for path in sys.argv[1:]:
    try:
        with open(f"{path}/fill", "wb") as file:
            while True:
                file.write(bytes(1 << 20))
    except OSError as error:
        print(errno.errorcode[error.errno], path)
"""


def test_a_kernel_whose_every_tmpfs_is_full_goes_on(launcher: Launcher, table: Any) -> None:
    sizes = dict.fromkeys(("tmpfs_size", "home_size", "tmp_size", "shm_size"), 16)
    project = launcher.project("lib", python=True, kernel=sizes)
    box = launcher.launch(project)
    full = ["/tmp", "/dev/shm", "/workspace/lib", "/home/moatuser"]
    with Kernel.start(box) as kernel:
        filled = box.run(["python3", "-c", FILL, *full], check=True).stdout.decode()
        assert filled.splitlines() == [f"ENOSPC {path}" for path in full]
        # IPython says too that it keeps no history.
        assert "42" in run(kernel.kc, "print(6 * 7)")
    with Kernel.start(box) as kernel:
        assert "42" in run(kernel.kc, "print(6 * 7)")
    box.stop()
    assert launcher.left(project) == []
    table("fill every tmpfs", launcher.runtime, "goes on", "goes on", "-")


# ---------------------------------------------------------------- the workspace, and the relay


def test_a_kernel_whose_workspace_was_deleted_goes_on_and_a_new_start_says_so(
    launcher: Launcher, table: Any
) -> None:
    project = launcher.project("lib", python=True)
    box = launcher.launch(project)
    with Kernel.start(box) as kernel:
        shutil.rmtree(project)
        assert run(kernel.kc, "print(6 * 7)") == "42\n"
    with pytest.raises(MoatError, match=re.escape(str(project))):
        box.relaunch()
    box.stop()
    with pytest.raises(MoatError, match=re.escape(str(project))):
        launcher.launch(project)
    project.mkdir()
    assert launcher.left(project) == []
    table("delete the workspace", launcher.runtime, "goes on", "goes on", "-")


def relay_of(manager: KernelManager) -> psutil.Process:
    """The process that listens where the manager's clients connect."""

    def listens(process: psutil.Process) -> bool:
        if manager.transport == "tcp":
            return manager.shell_port in {c.laddr.port for c in process.net_connections("tcp")}
        directory = str(Path(manager.ip).parent)
        return any(c.laddr.startswith(directory) for c in process.net_connections("unix"))

    def is_it(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):  # another test's
            return listens(process)
        return False

    relays = (
        process
        for process in psutil.process_iter(["cmdline"])
        if any("moat_nb.jupyter.relay" in word for word in process.info["cmdline"] or ())
    )
    (found,) = filter(is_it, relays)
    return found


def test_a_kernel_whose_relay_was_killed_goes_on(
    installed: Installed, runtime: str, table: Any
) -> None:
    with connected(installed) as (manager, client):
        run(client, "n = 6")
        relay = relay_of(manager)
        relay.kill()
        assert wait_until(lambda: not relay.is_running())
        client.wait_for_ready(timeout=300)
        said = []
        client.execute_interactive("print(n * 7)", timeout=300, output_hook=said.append)
        texts = [message["content"].get("text", "") for message in said]
        assert "42\n" in texts
        assert any("the relay of the kernel's output ended" in text for text in texts)
    table("relay killed", runtime, "goes on", "goes on", "-")
