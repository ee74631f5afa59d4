"""A sandboxed kernel in JupyterLab, as its user has it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Lab, Notebook
from tests.conftest import Project

pytestmark = pytest.mark.timeout(900)  # Lab, on a busy machine of two cores

MOAT_YAML = """\
name: test-browser
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules]
"""


def test_a_notebook_runs_in_the_sandbox_of_its_kernelspec(
    lab: Lab, notebook: Callable[..., Notebook], project: Project
) -> None:
    directory = project(MOAT_YAML)
    (directory / "node_modules").mkdir()
    (directory / "node_modules" / "host.txt").write_text("the host's own")
    nb = notebook(directory, kernel=lab.install(directory, "bubblewrap"))
    button = nb.page.get_by_role("button", name="Python 3 (moat: test-browser)")
    expect(button.first).to_be_visible()
    said = nb.run("import os; print(os.getcwd(), os.listdir('node_modules'))")
    expect(said).to_have_text("/workspace []")
    said = nb.run("from IPython.display import HTML\nHTML('<table><caption>t</caption></table>')")
    expect(said.get_by_role("table", name="t")).to_be_attached()
    nb.shoot("kernel")


def test_a_cells_error_is_shown_as_jupyterlab_shows_errors(
    notebook: Callable[..., Notebook], project: Project
) -> None:
    """The mirror: an ordinary kernel beside it."""
    nb = notebook(project(MOAT_YAML))
    expect(nb.run("1 / 0")).to_contain_text("ZeroDivisionError: division by zero")
