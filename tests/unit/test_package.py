"""What ``moat_nb`` gives, and what importing it costs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import moat_nb


def test_the_public_names_are_these() -> None:
    assert sorted(moat_nb.__all__) == [
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
