"""`moat-nb lab` and `moat-nb notebook` in a real browser: they work, and script in their pages
finds nothing that the sandbox has not; in an ordinary server's pages it finds it."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import CELL_SECONDS, Notebook
from tests.conftest import Project
from tests.served import Served, give, home_of, ours, plain

pytestmark = pytest.mark.timeout(900)  # two servers, on a busy machine of two cores

SECRET = "PASSWORD=hunter2"

MOAT_YAML = """\
name: test-served
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules, .env]
"""

# What a cell shows as HTML, without a click: each request with the page's own cookie.
TRIES = """
from IPython.display import Javascript, display
display(Javascript('''
(async () => {
  const xsrf = (document.cookie.match(/_xsrf=([^;]*)/) || [])[1];
  const token = JSON.parse(document.getElementById('jupyter-config-data').textContent).token;
  const headers = {'X-XSRFToken': xsrf, 'Authorization': 'token ' + token};
  const ask = async (method, path, body) => {
    const answer = await fetch(path, {method, headers, body: body && JSON.stringify(body)});
    const text = await answer.text();
    return text.includes('hunter2') ? 'read' : String(answer.status);
  };
  const found = {
    terminal: await ask('POST', '/api/terminals', {}),
    kernel: await ask('POST', '/api/kernels', {name: 'python3'}),
    contents: await ask('GET', '/api/contents/.env'),
    files: await ask('GET', '/files/.env?_xsrf=' + xsrf),
    setting: await ask('GET', '/lab/api/settings/SETTING'),
    own: await ask('GET', '/api/contents/n.txt'),
  };
  const shown = document.createElement('pre');
  shown.id = 'found';
  shown.textContent = JSON.stringify(found);
  element.append(shown);
})()
'''))
"""

NOTHING = {"terminal": "404", "kernel": "403", "contents": "404", "files": "404", "setting": "404"}
ALL = {"terminal": "200", "kernel": "201", "contents": "read", "files": "read", "setting": "read"}


def opened(page: Page, served: Served, front_end: str, project: Path, kernel: str) -> Notebook:
    path = project / f"{secrets.token_hex(4)}.ipynb"
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell()])
    made.metadata["kernelspec"] = {"name": kernel, "display_name": kernel}
    nbformat.write(made, path)
    give(path)
    where = "lab/tree" if front_end == "lab" else "notebooks"
    page.goto(f"{served.url}{where}/{path.name}?token={served.token}")
    notebook = Notebook(page=page, path=path)
    expect(notebook.cells).to_have_count(1, timeout=CELL_SECONDS * 1000)
    wait_for_kernel(page, served, path.name)
    return notebook


def wait_for_kernel(page: Page, served: Served, name: str) -> None:
    for _ in range(CELL_SECONDS * 5):
        kernels = [one["kernel"] for one in served("GET", "/api/sessions")[1]]
        if any(k["connections"] and k["execution_state"] == "idle" for k in kernels):
            return
        page.wait_for_timeout(200)
    raise AssertionError(f"{name} has no idle kernel")


def found(notebook: Notebook, served: Served) -> dict[str, Any]:
    where = str(served.home / ".docker").replace("/", "%2F")
    notebook.run(TRIES.replace("SETTING", f"{where}:config"))
    shown = notebook.page.locator("#found")
    expect(shown).to_be_attached(timeout=CELL_SECONDS * 1000)
    return dict(json.loads(shown.text_content() or ""))


def filled(directory: Path) -> Path:
    """The project, with secrets in it and in the home directory beside it; returns the latter."""
    home = directory.parent / "home"
    (home / ".docker").mkdir(parents=True)
    (home / ".docker" / "config.json").write_text(f'{{"auth": "{SECRET}"}}')
    (directory / ".env").write_text(SECRET)
    (directory / "n.txt").write_text("the workspace's own")
    (directory / "node_modules").mkdir()
    return home_of(directory)


@pytest.mark.parametrize("front_end", ["lab", "notebook"])
def test_script_in_a_page_finds_what_the_sandbox_has(
    page: Page, project: Project, front_end: str
) -> None:
    directory = project(MOAT_YAML)
    home = filled(directory)
    with ours(front_end, directory, "bubblewrap", home) as served:
        notebook = opened(page, served, front_end, directory, "moat-test-served")
        said = notebook.run("import os; print(os.getcwd(), os.listdir('node_modules'))")
        expect(said).to_have_text("/workspace []")
        assert found(notebook, served) == {**NOTHING, "own": "200"}
        said = notebook.run("import ipywidgets\nipywidgets.HTML('<b id=w onclick=1>bold</b>')")
        expect(said.locator("#w")).to_have_text("bold")
        notebook.shoot(f"served-{front_end}")
        page.keyboard.press("Control+s")
        expect(page.locator("body")).not_to_contain_text("File Save Error")
        for _ in range(CELL_SECONDS * 5):
            if "os.getcwd" in notebook.path.read_text():
                break
            page.wait_for_timeout(200)
        assert "os.getcwd" in notebook.path.read_text()


@pytest.mark.parametrize("front_end", ["lab", "notebook"])
def test_in_an_ordinary_server_the_same_script_finds_everything(
    page: Page, project: Project, front_end: str
) -> None:
    """The control."""
    directory = project(MOAT_YAML)
    home = filled(directory)
    with plain(front_end, directory, home) as served:
        notebook = opened(page, served, front_end, directory, "python3")
        assert found(notebook, served) == {**ALL, "own": "200"}


def test_the_first_page_has_the_projects_kernel_and_files(page: Page, project: Project) -> None:
    directory = project(MOAT_YAML)
    home = filled(directory)
    bad: list[str] = []
    page.on("response", lambda answer: bad.append(answer.url) if answer.status >= 400 else None)
    with ours("lab", directory, "bubblewrap", home) as served:
        page.goto(f"{served.url}lab?token={served.token}")
        card = page.locator(".jp-LauncherCard[title*='moat: test-served']").first
        expect(card).to_be_visible(timeout=CELL_SECONDS * 1000)
        names = page.locator(".jp-DirListing-itemText")
        expect(names.filter(has_text="n.txt")).to_be_visible()
        expect(names.filter(has_text="node_modules")).to_have_count(0)
        page.screenshot(path=Path("artifacts") / "served-launcher.png")
        card.click()
        cell = page.locator(".jp-Notebook .jp-CodeCell")
        expect(cell).to_have_count(1, timeout=CELL_SECONDS * 1000)
        wait_for_kernel(page, served, "the new notebook")
        said = Notebook(page=page, path=directory / "Untitled.ipynb").run("print(6 * 7)")
        expect(said).to_have_text("42")
    assert bad == []
