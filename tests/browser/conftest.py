"""Real JupyterLab in real Chromium: what the browser tests share.

A test asks for ``notebook`` and opens one: ``nb = notebook(project)`` (an ordinary kernel) or
``notebook(project, kernel=NAME)``. ``nb.run(code)`` types a cell, runs it, waits until it has
ended and gives its output's Locator; ``nb.start(code)`` does not wait. Screenshots (``nb.shoot``)
and what was on the page when a test failed are kept in ``artifacts/`` at the checkout's top.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

import moat_nb
from tests.served import END_SECONDS, address, noted

ARTIFACTS = Path(moat_nb.__file__).parent.parent / "artifacts"

PAGE_SECONDS = 30
"""For what a page shows by itself; Lab's first page takes 10 on a busy machine."""

CELL_SECONDS = 60
"""For one cell, the start of its sandbox included."""

# Lab would ask the network for news and for updates.
QUIET = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    }
}


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A running JupyterLab that serves ``root``."""

    url: str
    token: str
    root: Path
    data: Path
    """Its data directory: kernelspecs are installed with ``--prefix`` :attr:`prefix`."""
    env: Mapping[str, str]

    @property
    def prefix(self) -> Path:
        return self.data.parent.parent

    def install(self, project: Path, runtime: str) -> str:
        """Install the project's kernelspec; returns its name."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "moat_nb", "install", str(project)),
                *("--prefix", str(self.prefix), "--runtime", runtime),
            ],
            env=self.env,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()[1]

    def address(self, path: Path, app: str = "lab") -> str:
        """Where ``path`` opens; a workspace of its own keeps tests apart."""
        below = path.relative_to(self.root)
        where = f"lab/workspaces/{secrets.token_hex(4)}/tree" if app == "lab" else "notebooks"
        return f"{self.url}{where}/{below}?token={self.token}"

    def wait_for_kernel(self, page: Page, path: Path) -> None:
        """Until the notebook's kernel is idle and the page connected to it."""
        give_up = time.monotonic() + CELL_SECONDS
        while time.monotonic() < give_up:
            sessions = page.request.get(f"{self.url}api/sessions?token={self.token}").json()
            kernels = [one["kernel"] for one in sessions if one["name"] == path.name]
            if any(k["connections"] and k["execution_state"] == "idle" for k in kernels):
                return
            page.wait_for_timeout(200)
        raise AssertionError(f"{path} has no idle kernel")


@dataclass(kw_only=True)
class Notebook:
    """A notebook that is open in the browser, with a running kernel."""

    page: Page
    path: Path
    _runs: int = field(default=0)

    @property
    def cells(self) -> Locator:
        return self.page.locator(".jp-Notebook .jp-CodeCell")

    def start(self, code: str) -> Locator:
        """Type ``code`` into the last cell and run it; returns the cell."""
        cell = self.cells.nth(self._runs)
        editor = cell.get_by_role("textbox")
        editor.click()
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Shift+Enter")
        self._runs += 1
        return cell

    def wait(self, cell: Locator) -> Locator:
        """Until the cell has run; returns its outputs."""
        ended = re.compile(r"\[\d+\]:")
        expect(cell.locator(".jp-InputPrompt")).to_have_text(ended, timeout=CELL_SECONDS * 1000)
        return cell.locator(".jp-Cell-outputArea")

    def run(self, code: str) -> Locator:
        """Run ``code`` to its end; returns the outputs."""
        return self.wait(self.start(code))

    def choose(self, *items: str) -> None:
        """Click on a menu of Lab's, and on what it opens."""
        for item in items:
            labels = self.page.locator(".lm-MenuBar-itemLabel, .lm-Menu-itemLabel")
            labels.filter(has_text=re.compile(f"^{item}$")).click()

    def themes(self) -> Iterator[str]:
        """Yield ``dark``, then ``light``, which further notebooks find, with Lab shown in it."""
        for theme in ("Dark", "Light"):
            self.choose("Settings", "Theme", f"JupyterLab {theme}")
            light = str(theme == "Light").lower()
            expect(self.page.locator(f"body[data-jp-theme-light={light}]")).to_be_attached()
            yield theme.lower()

    def shoot(self, name: str, part: Locator | None = None) -> Path:
        """A screenshot of the page, or of a part of it, in :data:`ARTIFACTS`."""
        path = ARTIFACTS / f"{name}.png"
        (part or self.page).screenshot(path=path)
        return path


def click_in_frame(page: Page, target: Locator) -> None:
    """As somebody does: the pointer comes to the frame first, and its cover goes."""
    box = target.bounding_box()
    assert box is not None
    place = box["x"] + 5, box["y"] + 5
    page.mouse.move(*place)
    page.mouse.move(*place)
    page.mouse.click(*place)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Of the package's scope, for while playwright runs nothing else in this
    process can run an event loop."""
    program = shutil.which("chromium")
    if program is None:
        raise RuntimeError("chromium is not installed; `make test` installs it")
    ARTIFACTS.mkdir(exist_ok=True)
    # Chromium's own sandbox refuses to run as root.
    flags = ["--no-sandbox"] if os.getuid() == 0 else []
    expect.set_options(timeout=PAGE_SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=[*flags, "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def quiet(settings: Path) -> Path:
    """Write :data:`QUIET` to a directory of Lab's settings, which is made; returns it."""
    settings.mkdir(parents=True)
    for name, values in QUIET.items():
        package, plugin = name.split(":")
        (settings / package).mkdir(parents=True)
        (settings / package / f"{plugin}.jupyterlab-settings").write_text(json.dumps(values))
    return settings


@pytest.fixture(scope="package")
def lab(run_directory: Path) -> Iterator[Lab]:
    home = run_directory / "lab"
    data = home / "share" / "jupyter"
    settings = quiet(home / "settings")
    env = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(data),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    token = secrets.token_hex(16)
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"),
        *(
            "--ServerApp.ip=127.0.0.1",
            "--ServerApp.port=0",
            f"--ServerApp.root_dir={run_directory}",
        ),
        *(f"--IdentityProvider.token={token}", "--LabApp.extension_manager=readonly"),
    ]
    log = home / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
    try:
        url = address(process, log, noted(home / "runtime"))
        yield Lab(url=url, token=token, root=run_directory, data=data, env=env)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            # anyio's thread for a request of the page's that was under way outlives JupyterLab's
            # loop, and the interpreter waits for it (seen with anyio 4.16: py-spy showed no other).
            process.kill()
            process.wait()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    setattr(item, f"report_{report.when}", report)
    return report


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PAGE_SECONDS * 1000)
    yield page
    report = getattr(request.node, "report_call", None)
    if report is not None and report.failed:
        page.screenshot(path=ARTIFACTS / f"failed-{request.node.name}.png", full_page=True)
    context.close()


@pytest.fixture
def notebook(lab: Lab, page: Page) -> Callable[..., Notebook]:
    """``notebook(project, kernel="python3", app="lab")``: a new one, opened, its kernel idle.

    ``app="notebook"`` is Notebook 7, which the same server has.
    """

    def open_new(project: Path, kernel: str = "python3", app: str = "lab") -> Notebook:
        path = project / f"{secrets.token_hex(4)}.ipynb"
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell()])
        made.metadata["kernelspec"] = {"name": kernel, "display_name": kernel}
        nbformat.write(made, path)
        page.goto(lab.address(path, app))
        nb = Notebook(page=page, path=path)
        expect(nb.cells).to_have_count(1)
        if app == "lab":
            # The toolbar's indicator says idle before there is a kernel; the status bar does not.
            idle = page.get_by_role("button", name=re.compile(r"\| Idle$"))
            expect(idle).to_be_visible(timeout=CELL_SECONDS * 1000)
        else:
            lab.wait_for_kernel(page, path)
        return nb

    return open_new
