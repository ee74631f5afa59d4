"""notebooks/a_real_project in an ordinary user's JupyterLab, all of its cells run at once.

docs/a-real-project.png is the picture of it on Docker.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import CELL_SECONDS, Notebook, quiet
from tests.browser.test_lab import wait_for_kernel
from tests.integration.test_a_real_project import KEY, NOTEBOOK, on
from tests.served import plain

pytestmark = pytest.mark.timeout(900)  # Lab, on a busy machine of two cores

LOOK = {"width": 1200, "height": 1240}
ALL = {"width": 1200, "height": 3000}
"""Cells that are out of sight are not in the page."""


@pytest.mark.parametrize("runtime", ["docker", "bubblewrap"])
def test_all_cells_run_and_the_slider_asks_the_model(
    page: Page, request: pytest.FixtureRequest, runtime: str
) -> None:
    made = on(runtime, request)
    settings = quiet(made.home / "settings")
    env = {"BAKERY_KEY": KEY, "JUPYTERLAB_SETTINGS_DIR": str(settings)}
    with plain("lab", made.directory, made.home, **env) as served:
        page.set_viewport_size(ALL)
        page.goto(f"{served.url}lab/tree/{NOTEBOOK}?token={served.token}")
        nb = Notebook(page=page, path=made.directory / NOTEBOOK)
        expect(nb.cells).to_have_count(8, timeout=CELL_SECONDS * 1000)
        wait_for_kernel(page, served, NOTEBOOK)
        nb.choose("Run", "Run All Cells")
        *_, plot, widget, database, _, excluded = (nb.wait(cell) for cell in nb.cells.all())
        expect(plot.locator("img")).to_be_visible()
        handle = widget.get_by_role("slider")
        expect(handle).to_have_attribute("aria-valuetext", "18")
        said = widget.locator(".widget-label", has_text="On a Saturday")
        expect(said).to_contain_text("18 °C")
        handle.press("ArrowRight")
        expect(said).to_contain_text("19 °C")
        expect(database).to_contain_text("postgresql" if runtime == "docker" else "sqlite")
        expect(excluded).to_contain_text("customers: []")
        page.set_viewport_size(LOOK)
        plot.evaluate("element => element.scrollIntoView()")
        page.mouse.move(150, 800)  # what lies below the pointer is shown otherwise
        nb.shoot(f"a-real-project-{runtime}")
