"""`kernel.workspace: notebook` on real sandboxes: a kernel sees the notebook's own directory."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

from moat_nb.errors import ConfigError
from moat_nb.jupyter.kernelspec import install
from tests.integration.conftest import Launcher

LOOK = """
import os
print(sorted(os.listdir('.')), os.getcwd())
above = '../moat.yaml', '../grace', '/workspace/../solutions'
print([name for name in above if os.path.exists(name)])
_ = open('answer.txt', 'w').write('mine')
"""


@pytest.fixture
def course(launcher: Launcher) -> Path:
    made = launcher.project("hidden", python=True, kernel={"workspace": "notebook"})
    for student in ("ada", "grace"):
        (made / student / "hidden").mkdir(parents=True)
        (made / student / "hidden/tests.py").write_text("assert True")
        (made / student / "ps1.txt").write_text(student)
    (made / "solutions").mkdir()
    for path in made.rglob("*"):
        launcher.give(path, launcher.owner)
    return made


@pytest.fixture
def jupyter_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share/jupyter"))
    yield tmp_path


def executed(directory: Path | None, kernel: str) -> list[str]:
    """What a notebook in that directory prints; None for a client that names none."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LOOK)])
    resources = {"metadata": {"path": str(directory)}} if directory is not None else {}
    client = NotebookClient(notebook, kernel_name=kernel, resources=resources)
    client.execute()
    return "".join(output.text for output in notebook.cells[0].outputs).splitlines()


def test_each_notebook_sees_its_own_directory_and_nothing_above(
    launcher: Launcher, course: Path, jupyter_path: Path
) -> None:
    name, _ = install(str(course), runtime=launcher.runtime, prefix=str(jupyter_path))
    for student in ("ada", "grace"):
        shown = executed(course / student, name)
        assert shown == ["['hidden', 'ps1.txt'] /workspace", "[]"]
        assert (course / student / "answer.txt").read_text() == "mine"
        assert (course / student / "hidden/tests.py").read_text() == "assert True"
    with pytest.raises(ConfigError, match="start it below, in the directory of a notebook"):
        executed(course, name)


def test_a_client_that_names_no_directory_means_its_own(
    launcher: Launcher, course: Path, jupyter_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As nbgrader's `validate` does."""
    name, _ = install(str(course), runtime=launcher.runtime, prefix=str(jupyter_path))
    monkeypatch.chdir(course / "ada")
    assert executed(None, name) == ["['hidden', 'ps1.txt'] /workspace", "[]"]


def test_a_kernelspec_takes_notebooks_of_anywhere(
    launcher: Launcher, run_directory: Path, jupyter_path: Path
) -> None:
    project = launcher.project(python=True)
    elsewhere = run_directory / f"elsewhere-{launcher.runtime}"
    elsewhere.mkdir()
    launcher.give(elsewhere, launcher.owner)
    name, place = install(
        str(project), runtime=launcher.runtime, prefix=str(jupyter_path), workspace="notebook"
    )
    assert json.loads(Path(place, "kernel.json").read_text())["argv"][-4:-2] == [
        "--workspace",
        "notebook",
    ]
    assert executed(elsewhere, name) == ["[] /workspace", "[]"]
    assert (elsewhere / "answer.txt").exists()


def test_a_client_without_provisioners_has_it_too(
    launcher: Launcher, course: Path, jupyter_path: Path
) -> None:
    name, _ = install(str(course), runtime=launcher.runtime, prefix=str(jupyter_path))
    spec = KernelSpecManager().get_kernel_spec(name)
    spec.metadata.pop("kernel_provisioner")
    assert spec.argv[0] == sys.executable
    words = {**spec.to_dict(), "metadata": spec.metadata}
    own = jupyter_path / "share/jupyter/kernels/plain"
    own.mkdir(parents=True)
    (own / "kernel.json").write_text(json.dumps(words))
    assert executed(course / "ada", "plain") == ["['hidden', 'ps1.txt'] /workspace", "[]"]
    assert [path.name for path in (course / "ada/hidden").iterdir()] == ["tests.py"]
