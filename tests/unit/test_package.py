"""What ``moat_nb`` gives, and what importing it costs."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import moat_nb


def test_the_public_names_are_these() -> None:
    assert sorted(moat_nb.__all__) == [
        "ApprovalNeeded",
        "CellInterrupted",
        "CommandError",
        "Config",
        "ConfigError",
        "ConsentNeeded",
        "ContainerSpec",
        "EditError",
        "ExcludesEditor",
        "FileChanged",
        "ImageError",
        "MoatError",
        "MoatRemoteError",
        "MountProof",
        "NotSupportedYet",
        "ProofError",
        "RuntimeUnavailable",
        "Sandbox",
        "SandboxGone",
        "StartError",
        "ValueRefused",
        "load",
        "plan",
    ]


@pytest.mark.parametrize("name", moat_nb.__all__)
def test_each_public_name_is_the_one_of_its_home(name: str) -> None:
    value = getattr(moat_nb, name)
    assert getattr(importlib.import_module(value.__module__), name) is value
    assert value.__module__.startswith("moat_nb.")


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'moat_nb' has no attribute 'Sandbx'"):
        moat_nb.Sandbx  # noqa: B018


def modules_after(statement: str) -> set[str]:
    script = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return set(json.loads(done.stdout))


ENGINES = {"docker", "requests"}
JUPYTER = {"jupyter_client", "ipykernel", "zmq", "traitlets"}


@pytest.mark.parametrize(
    ("statement", "unused"),
    [
        ("import moat_nb", ENGINES | JUPYTER),
        ("from moat_nb import load, plan", ENGINES | JUPYTER),
        ("from moat_nb import Sandbox", ENGINES),
    ],
)
def test_what_is_slow_to_import_is_not_imported_before_it_is_used(
    statement: str, unused: set[str]
) -> None:
    assert not modules_after(statement) & unused


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    assert {name for name in modules_after("import moat_nb") if "moat_nb" in name} <= {
        "moat_nb",
        # an editable install's finder, where there is one
        *(name for name in modules_after("pass") if "moat_nb" in name),
    }


# ---------------------------------------------------------------- a module's tests

MUCH = 30
"""Statements in functions, from which a module has a test file of its own."""

ELSEWHERE = {
    # What starts, holds and ends sandboxes is tried with real ones.
    "runtimes/docker/attach.py": "tests/integration/test_sandbox.py",
    "runtimes/docker/containers.py": "tests/integration/test_home.py",
    "runtimes/docker/runtime.py": "tests/integration/test_failed_starts.py",
    "runtimes/bubblewrap/stop.py": "tests/unit/runtimes/test_stop.py",
    "sandbox/process.py": "tests/unit/sandbox/test_guest_client.py",
    "sandbox/running.py": "tests/integration/test_sandbox.py",
    "sandbox/sandbox.py": "tests/integration/test_sandbox.py",
    "sandbox/sidecars.py": "tests/integration/test_sidecars.py",
    # Real clients of Jupyter's, and real servers.
    "jupyter/kernel_manager.py": "tests/integration/test_spare.py",
    "jupyter/provisioner.py": "tests/integration/test_jupyter.py",
    "jupyter/shim.py": "tests/integration/test_jupyter.py",
    "jupyter/shim_daemon.py": "tests/integration/test_jupyter.py",
    "jupyter/time_limits.py": "tests/integration/test_time_limits.py",
    "jupyter/relay/cell.py": "tests/unit/jupyter/relay/test_relay.py",
    "jupyter/relay/harmless.py": "tests/unit/jupyter/relay/test_relay.py",
    "jupyter/relay/libraries.py": "tests/unit/jupyter/relay/test_relay.py",
    "jupyter/relay/sockets.py": "tests/unit/jupyter/relay/test_relay.py",
    "jupyter/relay/wire.py": "tests/unit/jupyter/relay/test_relay.py",
    "jupyter/server/app.py": "tests/integration/test_attacks_server.py",
    "jupyter/server/contents.py": "tests/integration/test_attacks_server.py",
    "jupyter/server/kernels.py": "tests/integration/test_attacks_server.py",
    "notebook/magics.py": "tests/integration/test_magics.py",
    "notebook/subcommands.py": "tests/integration/test_magics.py",
    "grading/notebook_cells.py": "tests/unit/grading/test_assignment.py",
    "grading/inside/asking.py": "tests/unit/grading/inside/test_tester.py",
    # nbgrader, which is installed for these alone.
    "grading/nbgrader.py": "tests/grading/test_nbgrader.py",
    "cli/interactive.py": "tests/integration/test_terminal.py",
    "cli/demo.py": "tests/integration/test_readme.py",
    "cli/bench/__init__.py": "tests/integration/test_bench.py",
    "cli/bench/kernels.py": "tests/integration/test_bench.py",
    "cli/bench/peer_client.py": "tests/integration/test_bench.py",
    "cli/bench/peers.py": "tests/integration/test_bench.py",
    "cli/bench/steps.py": "tests/integration/test_bench.py",
    "cli/bench/scale.py": "tests/integration/test_scale.py",
    # The proxy as a whole, by what passes through it.
    "egress/proxy/request.py": "tests/unit/egress/proxy/test_exchange.py",
    "egress/proxy/server.py": "tests/unit/egress/proxy/test_load.py",
    "egress/proxy/tls.py": "tests/unit/egress/proxy/test_interception.py",
    # With the proxy that it serves.
    "host/on_demand.py": "tests/unit/egress/test_process.py",
    # One question with another module, and tried there.
    "jupyter/output/attributes.py": "tests/unit/jupyter/output/test_sanitise.py",
    "excludes/nodes.py": "tests/unit/excludes/test_edit.py",
    "cli/freeze.py": "tests/integration/test_installing.py",
    "planning/protected_names.py": "tests/unit/planning/test_protected.py",
    "sandbox/comparison.py": "tests/unit/sandbox/test_workspace_copy_races.py",
    "sandbox/demands.py": "tests/unit/sandbox/test_permissions.py",
    "runtimes/base.py": "tests/unit/runtimes/test_registry.py",
    # Two kernels, each in a sandbox.
    "cli/bench/grading.py": "tests/integration/test_grading.py",
    "grading/exchange.py": "tests/integration/test_grading.py",
    "grading/run.py": "tests/integration/test_grading.py",
}
"""Where the tests are of a module that has no test file of its own."""

TESTS = Path(__file__).parent
ROOT = TESTS.parent.parent


def statements(path: Path) -> int:
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    return sum(isinstance(node, ast.stmt) for each in functions for node in ast.walk(each))


def own_tests(module: Path) -> Path:
    name = {"__init__": module.parent.name, "__main__": "main"}.get(module.stem, module.stem)
    return TESTS / module.parent / f"test_{name}.py"


def test_each_module_with_logic_has_its_tests_where_they_are_looked_for() -> None:
    package = ROOT / "moat_nb"
    without = {
        str(module)
        for module in (path.relative_to(package) for path in package.rglob("*.py"))
        if statements(package / module) >= MUCH and not own_tests(module).exists()
    }
    assert without - ELSEWHERE.keys() == set()


@pytest.mark.parametrize(("module", "tests"), ELSEWHERE.items())
def test_what_is_tried_elsewhere_is_there(module: str, tests: str) -> None:
    assert (ROOT / "moat_nb" / module).exists()
    assert (ROOT / tests).exists()


def sources() -> list[Path]:
    return sorted(Path(moat_nb.__file__).parent.rglob("*.py"))


def test_no_function_has_more_than_60_lines_and_no_module_more_than_400() -> None:
    """So that each can be read at once."""
    functions = {
        f"{path}:{node.lineno}": node.end_lineno - node.lineno + 1
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno
    }
    modules = {str(path): len(path.read_text().splitlines()) for path in sources()}
    assert {place: lines for place, lines in functions.items() if lines > 60} == {}
    assert {path: lines for path, lines in modules.items() if lines > 400} == {}
