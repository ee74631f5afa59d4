"""jupyter_kernel_test against installed kernelspecs: of Python, and of another language."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conformance.conftest import Place, Results
from tests.conformance.runner import Workplace, moat_yaml, pip
from tests.conformance.suites import KERNEL_TEST
from tests.conftest import Engine
from tests.integration.leftovers import Watch
from tests.integration.test_jupyter import forget_provisioner

# The suite's own example has every sample of Python; only the kernel is another.
PYTHON = """\
import test_ipykernel


class MoatTests(test_ipykernel.IPyKernelTests):
    kernel_name = "moat-test-suite"
"""

BASH = """\
import jupyter_kernel_test


class BashTests(jupyter_kernel_test.KernelTests):
    kernel_name = "moat-test-suite"
    language_name = "bash"
    file_extension = ".sh"
    code_hello_world = "echo hello, world"
    completion_samples = [{"text": "ech", "matches": {"echo"}}]
"""

BASH_ARGV = ["python3", "-m", "bash_kernel", "-f", "{connection_file}"]


def run(workplace: Workplace, results: Results, samples: str, how: str) -> None:
    (workplace.project / "test_moat.py").write_text(samples)
    report = workplace.run(KERNEL_TEST, {})
    language = "Python" if samples is PYTHON else "bash"
    results.rows.append(
        (f"jupyter_kernel_test {KERNEL_TEST.version}", f"{how}, {language}", report)
    )
    assert report.failed == ()
    assert report.passed >= 3


def test_a_python_kernel_keeps_the_protocol_on_bubblewrap(place: Place, results: Results) -> None:
    workplace = place(KERNEL_TEST, moat_yaml("bubblewrap"))
    workplace.install_kernel("bubblewrap")
    run(workplace, results, PYTHON, "bubblewrap")


@pytest.mark.engine
def test_a_python_kernel_keeps_the_protocol_on_docker(
    place: Place, results: Results, engine: Engine
) -> None:
    workplace = place(KERNEL_TEST, moat_yaml("docker", base_image=engine.kernel_image))
    workplace.install_kernel("docker")
    run(workplace, results, PYTHON, "docker")
    assert Watch(workplace.project).left(engine, seconds=10) == []


def test_a_python_kernel_keeps_the_protocol_behind_the_shim(place: Place, results: Results) -> None:
    workplace = place(KERNEL_TEST, moat_yaml("bubblewrap"))
    forget_provisioner(workplace.install_kernel("bubblewrap"))
    run(workplace, results, PYTHON, "bubblewrap, shim")


def test_a_bash_kernel_that_the_project_brings_runs_on_bubblewrap(
    place: Place, results: Results
) -> None:
    text = moat_yaml(
        "bubblewrap", kernel={"argv": BASH_ARGV}, env={"PYTHONPATH": "/workspace/packages"}
    )
    workplace = place(KERNEL_TEST, text)
    pip(
        "install",
        "--no-deps",
        f"--target={workplace.project / 'packages'}",
        "bash_kernel",
        "filetype",
    )
    assert not list(Path(sys.prefix).glob("lib/python*/site-packages/bash_kernel"))
    workplace.install_kernel("bubblewrap")
    run(workplace, results, BASH, "bubblewrap")


@pytest.mark.engine
def test_a_bash_kernel_that_the_image_has_runs_on_docker(
    place: Place, results: Results, engine: Engine
) -> None:
    kernel = {"argv": BASH_ARGV, "packages": ["bash_kernel"]}
    text = moat_yaml("docker", base_image=engine.base_image, kernel=kernel)
    workplace = place(KERNEL_TEST, text)
    workplace.install_kernel("docker")
    run(workplace, results, BASH, "docker")
    assert Watch(workplace.project).left(engine, seconds=10) == []
