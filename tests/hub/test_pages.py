"""A student's page has the hub's origin: what a kernel or a notebook shows must not act in it."""

from __future__ import annotations

import json
import pwd
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import requests
from playwright.sync_api import Page, expect

from tests.browser.conftest import ARTIFACTS, CELL_SECONDS, Notebook, browser, page
from tests.hub.hub import PASSWORD, Hub, Student, hub
from tests.hub.machine import ORDINARY, Machine
from tests.hub.test_attacks import write

__all__ = ["browser", "page"]

TAKE_A_TOKEN = """
from IPython.display import Javascript, display
display(Javascript('''
(async () => {
  const home = await (await fetch('/hub/home')).text();
  const xsrf = home.match(/xsrf_token: ?"([^"]*)"/)[1];
  const made = await fetch('/hub/api/users/NAME/tokens?_xsrf=' + xsrf, {method: 'POST'});
  const shown = document.createElement('pre');
  shown.id = 'taken';
  shown.textContent = String(made.status);
  document.body.append(shown);
})()
'''))
print('shown')
"""
"""With the student's own cookies: a token of the hub's API that outlives the page."""


def log_in(page: Page, made: Hub, name: str) -> None:
    page.goto(f"{made.url}/hub/login?next=/hub/home")
    page.fill("#username_input", name)
    page.fill("#password_input", PASSWORD)
    page.click("#login_submit")
    page.wait_for_url("**/hub/home")


def opened(page: Page, student: Student, machine: Machine, kernel: str) -> Notebook:
    path = machine.home(student.name) / f"work/{secrets.token_hex(4)}.ipynb"
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell()])
    made.metadata["kernelspec"] = {"name": kernel, "display_name": kernel}
    write(student.name, path, nbformat.writes(made))
    log_in(page, student.hub, student.name)
    page.goto(f"{student.base}/lab/tree/{path.name}")
    notebook = Notebook(page=page, path=path)
    expect(notebook.cells).to_have_count(1, timeout=CELL_SECONDS * 1000)
    give_up = time.monotonic() + CELL_SECONDS
    while time.monotonic() < give_up:
        sessions = student("GET", "/api/sessions")[1]
        kernels = [one["kernel"] for one in sessions if one["name"] == path.name]
        if any(k["connections"] and k["execution_state"] == "idle" for k in kernels):
            return notebook
        page.wait_for_timeout(200)
    raise AssertionError("no idle kernel")


def test_what_a_kernel_shows_takes_no_token_of_the_hub(
    page: Page, machine: Machine, ada: Student
) -> None:
    notebook = opened(page, ada, machine, "moat-course")
    said = notebook.run(TAKE_A_TOKEN.replace("NAME", ada.name))
    expect(said).to_contain_text("shown")
    page.wait_for_timeout(3000)
    assert page.locator("#taken").count() == 0
    plot = "from IPython.display import HTML; HTML('<h2>Hello, class</h2><b>6 * 7 = 42</b>')"
    expect(notebook.run(plot)).to_contain_text("Hello, class")
    notebook.shoot("hub-student")


def test_at_an_ordinary_hub_it_takes_one(page: Page, machine: Machine) -> None:
    """The control."""
    with hub(machine.directory / "pages-control", machine.proxy, ORDINARY) as made:
        ada = made.login("moatada")
        notebook = opened(page, ada, machine, "python3")
        notebook.run(TAKE_A_TOKEN.replace("NAME", "moatada"))
        expect(page.locator("#taken")).to_have_text("201")


def test_a_student_begins_at_the_login_and_comes_to_the_courses_kernel(
    page: Page, ada: Student
) -> None:
    bad: list[str] = []
    log_in(page, ada.hub, ada.name)
    page.on("response", lambda answer: bad.append(answer.url) if answer.status >= 400 else None)
    page.click("#start")
    page.wait_for_url(f"{ada.base}/lab**")
    expect(page.locator(".jp-DirListing-content")).to_be_visible(timeout=CELL_SECONDS * 1000)
    page.get_by_role("button", name="New Launcher").first.click()
    card = page.locator(".jp-LauncherCard[title*='moat: course']").first
    expect(card).to_be_visible(timeout=CELL_SECONDS * 1000)
    expect(page.locator(".jp-LauncherCard[title*='Python 3 (ipykernel)']")).to_have_count(0)
    page.screenshot(path=ARTIFACTS / "hub-launcher.png")
    assert bad == []


# -------- notebooks that another has made


def saved_widgets(label: str) -> Any:
    made = nbformat.v4.new_notebook()
    state = {
        "m": {
            "model_name": "HTMLModel",
            "model_module": "@jupyter-widgets/controls",
            "model_module_version": "2.0.0",
            "state": {"value": label},
        }
    }
    kind = "application/vnd.jupyter.widget-state+json"
    made.metadata["widgets"] = {kind: {"version_major": 2, "version_minor": 0, "state": state}}
    return made


def test_a_notebook_of_anothers_brings_no_widgets(machine: Machine, ada: Student) -> None:
    """ipywidgets makes them when it is opened, and asks nobody."""
    notebook = saved_widgets("<img src=x onerror=alert(1)>")
    write(ada.name, machine.home(ada.name) / "work/gift.ipynb", nbformat.writes(notebook))
    status, model = ada("GET", "/api/contents/gift.ipynb?content=1")
    assert status == 200
    assert "widgets" not in model["content"]["metadata"]


def test_a_notebook_that_the_page_saved_keeps_its_own(machine: Machine, ada: Student) -> None:
    notebook = saved_widgets("a slider")
    body = {"type": "notebook", "format": "json", "content": json.loads(nbformat.writes(notebook))}
    assert ada("PUT", "/api/contents/own.ipynb", body)[0] in (200, 201)
    assert "widgets" in ada("GET", "/api/contents/own.ipynb?content=1")[1]["content"]["metadata"]
    path = machine.home(ada.name) / "work/own.ipynb"
    path.write_text(path.read_text().replace("a slider", "<img src=x onerror=alert(1)>"))
    found = ada("GET", "/api/contents/own.ipynb?content=1")[1]["content"]["metadata"]
    assert "widgets" not in found


def test_a_page_of_the_workspace_has_no_origin(machine: Machine, ada: Student) -> None:
    """Its script runs where it is opened by its address, but not with the hub's origin."""
    write(ada.name, machine.home(ada.name) / "work/page.html", "<script>alert(1)</script>")
    headers = {"Authorization": f"token {ada.token}"}
    answer = requests.get(f"{ada.base}/files/page.html", headers=headers, timeout=60)
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy


# -------- a server's own port, as whoever has a shell on the machine sees it


@pytest.fixture
def port(ada: Student) -> Iterator[int]:
    yield listening(pwd.getpwnam(ada.name).pw_uid)


def listening(uid: int) -> int:
    """The port of 127.0.0.1 that a server of this user's listens on."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *rest = line.split()
        address, port = local.split(":")
        if state == "0A" and int(rest[3]) == uid and address == "0100007F":
            return int(port, 16)
    raise AssertionError("no server listens")


def test_its_port_answers_nobody_without_the_hubs_word(
    port: int, ada: Student, bob: Student
) -> None:
    url = f"http://127.0.0.1:{port}/user/{ada.name}/api/kernels"
    mine, theirs = ({"Authorization": f"token {one.token}"} for one in (ada, bob))
    assert requests.get(url, timeout=60).status_code == 403
    assert requests.get(url, headers=theirs, timeout=60).status_code == 403
    assert requests.get(url, headers={"Host": "evil.example"}, timeout=60).status_code == 403
    assert requests.get(url, headers=mine, timeout=60).status_code == 200
