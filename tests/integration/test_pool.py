"""kernel.pool: sandboxes that are started ahead of need, and proved again when they are used."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from moat_nb.jupyter.kernel_manager import Kernel
from moat_nb.jupyter.kernelspec import install
from moat_nb.jupyter.relay.process import _ahead, close_ahead
from moat_nb.sandbox.pool import POOL
from tests.integration.conftest import UNCLOSED_LOOPS, wait_until

pytestmark = [
    pytest.mark.timeout(900),
    UNCLOSED_LOOPS,
]


@pytest.fixture
def pooled(launcher):
    """A project with a pool of one; the pool is empty afterwards."""
    yield launcher.project("node_modules", python=True, kernel={"pool": 1})
    assert wait_until(lambda: not POOL._filling, 150)
    POOL.clear()


def spare_of(launcher, project):
    """Run one kernel, and wait for the spare that follows."""
    with launcher.launch(project) as box:
        assert POOL.spares == ()
        with Kernel.start(box):
            assert wait_until(lambda: len(POOL.spares) == 1 and not POOL._filling, 150)
        (spare,) = POOL.spares
        assert spare.run_dir.id != box.id
    return spare.run_dir.id


def answers(box):
    with Kernel.start(box) as kernel:
        reply = kernel.kc.execute("1", reply=True, timeout=300)
        return reply["content"]["status"] == "ok"


def test_a_spare_is_started_after_the_first_kernel_and_is_the_next_sandbox(launcher, pooled):
    id = spare_of(launcher, pooled)
    box = launcher.launch(pooled)
    assert box.id == id
    assert POOL.spares == ()
    (mount,) = box.mounts()
    assert (mount.path, mount.problem, mount.mode) == ("/workspace/node_modules", None, 0o1777)
    assert answers(box)


def test_a_sandbox_without_a_kernel_starts_no_spare(launcher, pooled):
    with launcher.launch(pooled) as box:
        box.run(["true"], check=True)
        assert POOL.spares == ()
        assert not POOL._filling


def test_a_changed_moat_yaml_drops_the_spare(launcher, pooled):
    id = spare_of(launcher, pooled)
    file = pooled / "moat.yaml"
    file.write_text(file.read_text() + "env: {NEW: '1'}\n")
    box = launcher.launch(pooled)
    assert box.id != id
    assert box.run(["sh", "-c", "echo $NEW"]).stdout == b"1\n"
    assert POOL.spares == ()


def test_a_workspace_in_the_place_of_another_drops_the_spare(launcher, pooled):
    id = spare_of(launcher, pooled)
    other = pooled.with_name("other")
    shutil.copytree(pooled, other)
    launcher.give(other, launcher.owner)
    (other / "new.txt").write_text("new")
    shutil.rmtree(pooled)
    other.rename(pooled)
    box = launcher.launch(pooled)
    assert box.id != id
    assert box.run(["cat", "new.txt"]).stdout == b"new"


def test_a_spare_whose_exclude_came_undone_is_not_handed_out(launcher, pooled):
    id = spare_of(launcher, pooled)
    (pooled / "node_modules").rmdir()  # and the mount with it
    box = launcher.launch(pooled)
    assert box.id != id
    assert [mount.problem for mount in box.mounts()] == [None]


def test_pre_run_is_run_when_the_spare_is_handed_out_and_not_before(launcher):
    project = launcher.project(
        python=True, kernel={"pool": 1}, hooks={"pre_run": "echo x >> /workspace/ran"}
    )
    try:
        id = spare_of(launcher, project)
        assert (project / "ran").read_text() == "x\n"
        assert launcher.launch(project).id == id
        assert (project / "ran").read_text() == "x\nx\n"
    finally:
        POOL.clear()


def ps():
    argv = [sys.executable, "-m", "moat_nb", "ps", "--json"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return {one["id"]: one["state"] for one in json.loads(done.stdout)}


def test_ps_shows_a_spare_as_one_until_it_is_handed_out(launcher, pooled):
    id = spare_of(launcher, pooled)
    assert ps()[id] == "spare"
    launcher.launch(pooled)
    assert ps()[id] == "running"


ONE_NOTEBOOK = """
import sys, moat_nb
from moat_nb.sandbox.pool import POOL
import time
with moat_nb.Sandbox.launch(sys.argv[1], sys.argv[2]) as box:
    with box.start_kernel() as kernel:
        while sys.argv[3] == "wait" and not POOL.spares:
            time.sleep(0.05)
"""


@pytest.mark.parametrize("when", ["wait", "at once"])
def test_a_program_that_ends_leaves_no_spare(launcher, pooled, when):
    argv = [sys.executable, "-c", ONE_NOTEBOOK, pooled, launcher.runtime, when]
    subprocess.run(argv, check=True, timeout=300)
    assert launcher.left(pooled) == []


def test_a_forked_child_has_no_spares(launcher, pooled):
    spare_of(launcher, pooled)
    child = os.fork()
    if child == 0:
        os._exit(len(POOL.spares))
    assert os.waitpid(child, 0)[1] == 0
    assert len(POOL.spares) == 1


def test_a_native_start_has_the_relay_made_ahead(on_bubblewrap, tmp_path):
    project = on_bubblewrap.project(python=True, kernel={"pool": 1})
    name, _ = install(str(project), runtime="bubblewrap", prefix=str(tmp_path))
    specs = KernelSpecManager(kernel_dirs=[str(tmp_path / "share/jupyter/kernels")])

    def relay_of_a_start():
        manager = KernelManager(kernel_name=name, kernel_spec_manager=specs)
        manager.start_kernel(cwd=str(project))
        managers.append(manager)
        return manager.provisioner.relay_pid

    close_ahead()
    managers = []
    try:
        relay_of_a_start()
        assert wait_until(lambda: len(_ahead) == 1 and not POOL._filling)
        (ahead,) = _ahead
        assert relay_of_a_start() == ahead.pid
    finally:
        for manager in managers:
            manager.shutdown_kernel(now=True)
        assert wait_until(lambda: len(_ahead) == 1 and not POOL._filling)
        POOL.clear()
        close_ahead()
