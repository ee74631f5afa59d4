"""System calls that the sandbox's filter denies, on each runtime, with the same where none is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Engine
from tests.integration.conftest import Launcher

SCRIPT = Path(__file__).with_name("attacks_by_calls.py")

NAMES = {
    "io_uring_setup": "io_uring_setup",
    "io_uring_enter": "io_uring_enter",
    "io_uring_register": "io_uring_register",
    "a socket to the hypervisor (AF_VSOCK)": "vsock",
    "AF_VSOCK with bits above the 32nd": "vsock_in_disguise",
    "a socket of the kernel's ciphers (AF_ALG)": "alg",
    "AF_ALG with bits above the 32nd": "alg_in_disguise",
}


@pytest.fixture(scope="module")
def unfiltered(engine: Engine) -> Iterator[Callable[[str], str]]:
    """What happens in a container without a filter."""
    container = engine.client.containers.create(
        engine.base_image,
        ["sleep", "600"],
        init=True,
        network_mode="none",
        security_opt=["seccomp=unconfined"],
        volumes=[f"{SCRIPT}:/attacks.py:ro"],
    )

    def tried(function: str) -> str:
        return str(container.exec_run(["python3", "/attacks.py", function]).output.decode().strip())

    try:
        container.start()
        yield tried
    finally:
        container.remove(force=True)


def test_what_leads_out_is_denied_before_the_kernel_sees_it(
    launcher: Launcher, unfiltered: Callable[[str], str], table: Any
) -> None:
    project = launcher.project()
    shutil.copy(SCRIPT, project)
    box = launcher.launch(project)

    def tried(function: str) -> str:
        argv = ["python3", SCRIPT.name, function]
        return box.run(argv, cwd="/workspace", check=True).stdout.decode().strip()

    happened = {name: (tried(one), unfiltered(one)) for name, one in NAMES.items()}
    for name, (inside, control) in happened.items():
        table(name, launcher.runtime, "EPERM", inside, control)
    assert {inside for inside, _ in happened.values()} == {"EPERM"}
    assert {control for _, control in happened.values()} <= {"done", "reached the kernel"}
    assert tried("unix") == "done"
