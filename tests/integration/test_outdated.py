"""A moat.yaml that is rewritten while its sandbox runs: what a client restarts is the old one."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from moat_nb.sandbox.pool import POOL
from moat_nb.sandbox.sandbox import Sandbox
from tests.integration.conftest import UNCLOSED_LOOPS, Launcher, wait_until
from tests.integration.test_jupyter import Installed, connected, installed, run, runtime

__all__ = ["installed", "runtime"]

pytestmark = UNCLOSED_LOOPS

LOOK = "import os; print(os.environ.get('NEW', 'old'))"


def answer(manager: KernelManager, code: str) -> str:
    """What a cell prints; by a client of its own, as another sandbox has other sockets."""
    # With a manager, for one without waits no longer than a second for the first heartbeat; and not
    # by the manager, which gives all its clients one identity.
    client = BlockingKernelClient(parent=manager)
    client.load_connection_info(manager.get_connection_info())
    client.start_channels()
    try:
        client.wait_for_ready(timeout=300)
        return run(client, code)
    finally:
        client.stop_channels()


def rewrite(project: Path) -> None:
    """As a sandbox can that was started before the file was protected inside."""
    with (project / "moat.yaml").open("a") as file:
        file.write("env: {NEW: new}\n")


def end_sandbox(manager: KernelManager, project: Path) -> None:
    """From another process, as when it ends itself."""
    (id,) = (one["id"] for one in listed() if one.get("project") == str(project))
    subprocess.run([sys.executable, "-m", "moat_nb", "stop", id], check=True, capture_output=True)
    assert wait_until(lambda: not manager.is_alive(), 60)


def test_a_client_that_restarts_a_dead_sandbox_gets_the_one_that_was_started(
    installed: Installed, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with connected(installed) as (manager, client):
        assert run(client, LOOK) == "old\n"
        rewrite(installed.project)
        end_sandbox(manager, installed.project)
        manager.restart_kernel(now=True)
        assert answer(manager, LOOK) == "old\n"
        printed: list[str] = []

        def told() -> bool:
            printed.append(capfd.readouterr().err)
            return "moat.yaml has changed since this sandbox started" in caplog.text + "".join(
                printed
            )

        assert wait_until(told)


def test_a_start_that_fails_again_and_again_reads_no_new_file(
    on_bubblewrap: Launcher, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A mount's source is gone: the restart fails; it is back: the restart has the old file."""
    from jupyter_client.kernelspec import KernelSpecManager

    from moat_nb.jupyter.kernelspec import install

    project = on_bubblewrap.project(python=True)
    (project / "data").mkdir()
    file = project / "moat.yaml"
    file.write_text(file.read_text().replace("mounts:\n", "mounts:\n- ./data:/data\n"))
    name, _ = install(str(project), runtime="bubblewrap", prefix=str(tmp_path))
    specs = KernelSpecManager(kernel_dirs=[str(tmp_path / "share/jupyter/kernels")])

    def started() -> KernelManager:
        manager = KernelManager(kernel_name=name, kernel_spec_manager=specs)
        manager.start_kernel(cwd=str(project))
        return manager

    manager = started()
    try:
        assert answer(manager, LOOK) == "old\n"
        rewrite(project)
        end_sandbox(manager, project)
        (project / "data").rename(project / "away")
        for _ in range(2):
            with pytest.raises(Exception, match="data does not exist"):
                manager.restart_kernel(now=True)
        (project / "away").rename(project / "data")
        manager.restart_kernel(now=True)
        assert answer(manager, LOOK) == "old\n"
        manager.shutdown_kernel(now=True)
        manager = started()
        assert answer(manager, LOOK) == "new\n"
    finally:
        manager.shutdown_kernel(now=True)


def listed() -> Any:
    argv = [sys.executable, "-m", "moat_nb", "ps", "--json"]
    return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def states() -> dict[str, bool]:
    return {one["id"]: one["outdated"] for one in listed()}


def test_ps_and_the_sandbox_say_that_the_file_has_changed_and_a_reset_reads_it(
    launcher: Launcher,
) -> None:
    project = launcher.project()
    box = launcher.launch(project)
    assert box.outdated() is None
    assert states()[box.id] is False
    rewrite(project)
    assert "moat.yaml has changed since this sandbox started" in str(box.outdated())
    assert states()[box.id] is True
    old = box.id
    box.relaunch()
    assert box.id != old
    assert box.run(["python3", "-c", LOOK]).stdout == b"old\n"
    box.reset()
    assert box.run(["python3", "-c", LOOK]).stdout == b"new\n"
    assert box.outdated() is None


@pytest.fixture
def empty_pool() -> Iterator[None]:
    yield
    assert wait_until(lambda: not POOL._filling, 150)
    POOL.clear()


def test_the_pool_is_filled_with_what_was_started(
    on_bubblewrap: Launcher, empty_pool: None, caplog: pytest.LogCaptureFixture
) -> None:
    from moat_nb.jupyter.kernel_manager import Kernel

    caplog.set_level(logging.INFO)
    project = on_bubblewrap.project(python=True, kernel={"pool": 1})
    box: Sandbox = on_bubblewrap.launch(project)
    rewrite(project)
    with Kernel.start(box):
        assert wait_until(lambda: len(POOL.spares) == 1 and not POOL._filling, 150)
    (spare,) = POOL.spares
    assert "NEW" not in dict(spare.spec.env)
