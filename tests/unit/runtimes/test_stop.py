"""A sandbox of another process: what the module of its runtime says, with no sandbox there."""

from __future__ import annotations

import os
import time
from importlib import import_module
from pathlib import Path

import pytest

from moat_nb.host.run_directory import Owner, SandboxState
from moat_nb.runtimes.registry import RUNTIMES
from moat_nb.runtimes.stop import _MODULES, end, is_running


def sandbox_state(runtime: str) -> SandboxState:
    owner = Owner.of(os.getpid())
    assert owner is not None
    return SandboxState(
        id="0a1b2c3d",
        name="p",
        project="/p",
        runtime=runtime,
        image=None,
        container="moat-p-0a1b2c3d",
        started=time.time(),
        owner=owner,
    )


def test_each_runtime_has_a_module_with_both() -> None:
    assert _MODULES.keys() == {*RUNTIMES, "ssh", "slurm", "kubernetes"}
    for module in map(import_module, _MODULES.values()):
        assert {"end", "is_running"} <= set(module.__all__)


@pytest.mark.parametrize("runtime", ["docker", "podman", "bubblewrap", "another version's"])
def test_what_is_not_there_has_ended_already(runtime: str, tmp_path: Path) -> None:
    environ = {"DOCKER_HOST": f"unix://{tmp_path}/no-engine.sock"}
    assert is_running(sandbox_state(runtime), tmp_path, environ) is False
    assert end(sandbox_state(runtime), tmp_path, environ) is False


def test_of_an_apple_container_only_its_launcher_can_tell(tmp_path: Path) -> None:
    assert is_running(sandbox_state("apple"), tmp_path, {}) is True
