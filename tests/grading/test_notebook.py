"""What the notebook about a class shows is what happens."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import moat_nb
from tests.conftest import Project
from tests.integration.conftest import UNCLOSED_LOOPS

NOTEBOOK = Path(moat_nb.__file__).parent.parent / "notebooks/05_grading.ipynb"


@UNCLOSED_LOOPS
@pytest.mark.timeout(900)
def test_the_notebook_of_a_class_runs_to_its_end(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = project("")
    monkeypatch.setenv("PATH", f"{sys.prefix}/bin:{os.environ['PATH']}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (file,) = [cell for cell in notebook.cells if "%%writefile class/moat.yaml" in cell.source]
    file.source += "\nkernel: {runtime: bubblewrap}\n"
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(directory)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "error"] == []
    counts, others = (output.data["text/plain"] for output in outputs[-2:])
    assert "'passed': 32" in counts and "'wrote outside': 1" in counts
    assert "'ira': (2.0, '1 of 2 tests: test_median_of_nothing')" in others
