"""`kernel:` of a moat.yaml, read."""

from __future__ import annotations

import pytest

from moat_nb.config.model import KernelOptions
from tests.unit.config.reading import config, refused


def test_the_kernels_own_keys_are_read() -> None:
    read = config(
        """\
dependencies: [go@1.22, docker:dind, bun]
kernel:
  runtime: bubblewrap
  packages: [numpy>=2, "scipy[test]"]
  argv: [ir, "{connection_file}"]
  display_name: C++20 (xeus)
  language: C++
  interrupt_mode: message
  preload: [numpy, scipy.linalg]
  skip_dependencies: [go, docker:dind, bun@1]
  pool: 2
  tmpfs_size: 2048
  home_size: 1
  tmp_size: 2
  shm_size: 3
  pids: 1000
  gpus: all
  isolation: gvisor
  protect: [tools/run.sh, .a..b]
  unprotect: [.vscode]
  idle_timeout: 60
  max_lifetime: 3600.5
  cell_timeout: 10
  transport: tcp
"""
    )
    assert read.kernel == KernelOptions(
        runtime="bubblewrap",
        packages=("numpy>=2", "scipy[test]"),
        argv=("ir", "{connection_file}"),
        display_name="C++20 (xeus)",
        language="C++",
        interrupt_mode="message",
        preload=("numpy", "scipy.linalg"),
        skip_dependencies=("go", "docker:dind", "bun"),
        pool=2,
        tmpfs_size_mb=2048,
        home_size_mb=1,
        tmp_size_mb=2,
        shm_size_mb=3,
        pids=1000,
        gpus="all",
        isolation="gvisor",
        protect=("tools/run.sh", ".a..b"),
        unprotect=(".vscode",),
        idle_timeout=60.0,
        max_lifetime=3600.5,
        cell_timeout=10.0,
        transport="tcp",
    )
    assert read.kernel.where["pool"] == "moat.yaml:11:3"


@pytest.mark.parametrize(
    ("gpus", "expected"), [("all", "all"), ("2", 2), ("none", None), ("~", None)]
)
def test_gpus_are_all_a_number_or_none(gpus: str, expected: object) -> None:
    assert config(f"kernel: {{gpus: {gpus}}}").kernel.gpus == expected


def test_the_runtime_auto_is_no_choice() -> None:
    assert config("kernel: {runtime: auto}").kernel.runtime is None


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("runtime: bwrap", "'bwrap' is not one of auto, docker, podman, bubblewrap, apple, kuber"),
        ("packags: []", "unknown key 'packags' in kernel; did you mean 'packages'?"),
        ("packages: ['-r x']", "kernel.packages[0]: '-r x' is not a requirement of pip"),
        ("packages: ['x @ file:///e']", "is not a requirement of pip: it has an address"),
        ("packages: [evil.zip]", "is not a requirement of pip: pip would take it for a file"),
        ("packages: numpy", "kernel.packages: 'numpy' stands where a list must"),
        ("argv: [ir]", "kernel.argv: no word holds {connection_file}"),
        (
            'display_name: "a\\nb"',
            "kernel.display_name: 'a\\nb' is not a name of up to 100 letters",
        ),
        ("interrupt_mode: sigint", "kernel.interrupt_mode: 'sigint' is not one of signal, message"),
        ("preload: ['os; x']", "kernel.preload[0]: 'os; x' is not a module's name"),
        ("skip_dependencies: [gi]", "'gi' is not one of the dependencies; did you mean 'git'?"),
        ("skip_dependencies: [rust]", "'rust' is not one of the dependencies; remove it"),
        ("pool: -1", "kernel.pool: '-1' is not a whole number from 0 to 64"),
        ("tmpfs_size: 0", "kernel.tmpfs_size: '0' is not"),
        ("shm_size: 64m", "kernel.shm_size: '64m' is not"),
        ("pids: 3", "kernel.pids: '3' is not a whole number from 16"),
        ("gpus: 0", "kernel.gpus: '0' is not"),
        ("gpus: [0]", "kernel.gpus: a sequence stands where"),
        ("isolation: kata", "kernel.isolation: 'kata' is not one of gvisor"),
        ("cell_timeout: 0", "kernel.cell_timeout: '0' is not a number above 0"),
        ("idle_timeout: 5m", "kernel.idle_timeout: '5m' is not a number above 0"),
        ("protect: [/etc]", "kernel.protect[0]: '/etc' is not a path relative to a mount"),
        ("protect: [a/../b]", "kernel.protect[0]: 'a/../b' is not a path relative to a mount"),
        ("unprotect: [.]", "kernel.unprotect[0]: '.' is not a path relative to a mount"),
        ("transport: udp", "kernel.transport: 'udp' is not one of auto, ipc, tcp"),
    ],
)
def test_a_wrong_kernel_key_is_refused(kernel: str, message: str) -> None:
    assert message in refused(f"dependencies: [git]\nkernel: {{{kernel}}}")
