"""A kernel stands where its notebook does, and what it says of files can be opened on the host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from moat_nb.jupyter.kernelspec import install
from tests.integration.conftest import Launcher, launcher, on_bubblewrap, on_docker
from tests.integration.test_jupyter import run

__all__ = ["launcher", "on_bubblewrap", "on_docker"]  # fixtures

BROKEN = "def divide(n):\n    return n / 0\n"


@pytest.fixture
def notebooks(launcher: Launcher) -> Path:
    """The directory of a notebook, two levels below moat.yaml, with a module beside it."""
    directory = launcher.project("data", python=True) / "lectures" / "first"
    directory.mkdir(parents=True)
    (directory / "broken.py").write_text(BROKEN)
    (directory.parents[1] / "data").mkdir()
    (directory.parents[1] / "data" / "secret.csv").write_text("the host's own")
    for path in (directory.parent, directory, directory / "broken.py"):
        launcher.give(path, launcher.owner)
    return directory


@pytest.fixture
def manager(launcher: Launcher, notebooks: Path, tmp_path: Path) -> Iterator[KernelManager]:
    """Of a kernel that was started as a server does: in the notebook's directory."""
    prefix = str(tmp_path / "prefix")
    name, _ = install(str(notebooks), runtime=launcher.runtime, prefix=prefix)
    specs = KernelSpecManager(kernel_dirs=[f"{prefix}/share/jupyter/kernels"])
    manager = KernelManager(kernel_name=name, kernel_spec_manager=specs)
    manager.start_kernel(cwd=str(notebooks))
    yield manager
    manager.shutdown_kernel(now=True)


def test_a_traceback_and_the_cwd_lead_to_the_hosts_files(
    manager: KernelManager, notebooks: Path
) -> None:
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=300)
    code = "import os, traceback, broken\nprint(os.getcwd())\ntry: broken.divide(1)\n"
    said = run(client, code + "except ZeroDivisionError: traceback.print_exc()")
    client.stop_channels()
    assert said.startswith("/workspace/lectures/first\n")
    (inside,) = re.findall(r'File "(.*broken\.py)"', said)
    assert inside == "/workspace/lectures/first/broken.py"
    assert manager.resolve_path(inside) == str(notebooks / "broken.py")
    assert manager.resolve_path("broken.py") == str(notebooks / "broken.py")


def test_a_path_that_is_no_file_of_the_workspace_leads_nowhere(
    manager: KernelManager, notebooks: Path
) -> None:
    paths = {
        "missing": "missing.py",
        "in an exclude": "/workspace/data/secret.csv",
        "of the system": "/workspace/../etc/passwd",
        "in a tmpfs": "/tmp",
        "above the workspace": "../../..",
    }
    assert {what: manager.resolve_path(path) for what, path in paths.items()} == dict.fromkeys(
        paths
    )
    assert manager.resolve_path("../..") == str(notebooks.parents[1])
