"""What the output relay passes on, in a real page: widgets look and act as ever, and nothing of a
sandboxed kernel's acts in the page. The controls are an ordinary kernel's.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Lab, Notebook, click_in_frame
from tests.conftest import Project

pytestmark = pytest.mark.timeout(900)

MOAT_YAML = "name: {name}\nmounts: [{{source: ., target: /workspace}}]\n"

BEGIN = """
import traitlets, ipywidgets as w
from IPython.display import *
"""


def names(attack: str) -> str:
    """Python that names what the page may do and a sandbox may not: ask the server for the user's
    files, and say in the page which attack could."""
    told = f"document.documentElement.dataset.owned = '{attack}'"
    script = f"fetch('/api/contents').then(r => {{if (r.ok) {told}}})"
    image = f'<img src=x onerror="{script}">'
    return f"OWN, OWNS = {image!r}, {script!r}\n"


ATTACKS = {
    "HTML": "display(w.HTML(OWN))",
    "HTMLMath": "h = w.HTMLMath('x'); display(h); h.value = OWN",
    "link": "t, h = w.Text(OWN), w.HTML(); display(h); w.jslink((t, 'value'), (h, 'value'))",
    "outputs": "display(w.Output(outputs=[{'output_type': 'display_data',"
    " 'data': {'text/html': OWN}, 'metadata': {}}]))",
    "view": """
class Text(w.Text):
    _view_name = traitlets.Unicode('HTMLView').tag(sync=True)
display(Text(OWN))""",
    "anywidget": """
import anywidget
class Own(anywidget.AnyWidget):
    _esm = OWNS + "; export default {render() {}}"
display(Own())""",
    "error": """
class Slider(w.FloatSlider):
    readout_format = traitlets.Unicode(OWN).tag(sync=True)
display(Slider())""",
    "script": "display(HTML(OWN))",
    "javascript": "display(Javascript(OWNS))",
    "pager": "get_ipython().payload_manager.write_payload("
    "{'source': 'page', 'data': {'text/html': OWN}, 'start': 0})",
}


@pytest.fixture
def sandboxed(
    lab: Lab, notebook: Callable[..., Notebook], project: Project
) -> Callable[..., Notebook]:
    """``sandboxed(app)``: a notebook whose kernel the server starts in a sandbox."""

    def opened(app: str = "lab") -> Notebook:
        directory = project(MOAT_YAML.format(name=f"output-{secrets.token_hex(4)}"))
        return notebook(directory, kernel=lab.install(directory, "bubblewrap"), app=app)

    return opened


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_nothing_of_it_acts_in_the_page(sandboxed: Callable[..., Notebook], app: str) -> None:
    nb = sandboxed(app)
    nb.run(BEGIN)
    for name, attack in ATTACKS.items():
        nb.run(f"{names(name)}{attack}")
    nb.run("1 + 1")
    expect(nb.page.get_by_text("Click to show javascript error.")).to_have_count(0)
    nb.page.wait_for_timeout(1000)
    assert not nb.page.evaluate("'owned' in document.documentElement.dataset")
    nb.shoot(f"attacks-{app}")


def test_each_acts_where_nothing_stands_between(
    notebook: Callable[..., Notebook], project: Project
) -> None:
    nb = notebook(project(MOAT_YAML.format(name="control")))
    nb.run(BEGIN)
    for name, attack in ATTACKS.items():
        nb.run(f"{names(name)}{attack}")
        if name == "error":
            nb.page.get_by_text("Click to show javascript error.").click()
        nb.page.wait_for_function(f"document.documentElement.dataset.owned == {name!r}")


TAKES_KEYS = """
from IPython.display import HTML, display
import ipywidgets as w
PAGE = '''<input id=i><script>addEventListener('keydown', e => document.body.append(e.key));
setInterval(() => {focus(); document.getElementById('i').focus()}, 50)</script>'''
"""


@pytest.mark.parametrize("shown", ["HTML(PAGE)", "w.HTML(PAGE)"])
@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "control"])
def test_no_output_gets_what_is_typed_elsewhere(
    sandboxed: Callable[..., Notebook], shown: str, guarded: bool
) -> None:
    nb = sandboxed()
    nb.run(TAKES_KEYS)
    if not guarded:
        nb.page.evaluate("window.moatGuard = frame => {}")
    output = nb.run(f"display({shown})")
    nb.cells.nth(2).get_by_role("textbox").click()
    written = nb.cells.nth(2).locator(".cm-content")
    if guarded:  # until it is removed, it may hear a key before the page gives the focus back
        expect(output).to_contain_text("took the keyboard")
    else:
        nb.page.wait_for_function("document.activeElement.tagName == 'IFRAME'")
    nb.page.keyboard.type("6 * 7", delay=50)
    frame = output.frame_locator("iframe").frame_locator("iframe").locator("body")
    if guarded:
        expect(written).to_have_text(re.compile(r"6 \* 7$"))
    else:
        expect(frame).to_contain_text("6 * 7")
        expect(written).not_to_have_text(re.compile(r"6 \* 7$"))


def test_an_output_that_is_clicked_at_has_the_keyboard(sandboxed: Callable[..., Notebook]) -> None:
    nb = sandboxed()
    nb.run(TAKES_KEYS)
    output = nb.run("HTML('<input id=i><script>1</script>')")
    field = output.frame_locator("iframe").frame_locator("iframe").locator("input")
    click_in_frame(nb.page, field)
    nb.page.keyboard.type("typed here", delay=20)
    expect(field).to_have_value("typed here")


def test_widgets_look_and_act_as_ever(sandboxed: Callable[..., Notebook]) -> None:
    nb = sandboxed()
    nb.run(BEGIN)
    shown = nb.run(
        """
from tqdm.notebook import tqdm
out, clicks = w.Output(), []
button = w.Button(description='Go', icon='check', button_style='success')
def clicked(button):
    clicks.append(1)
    with out:
        print('clicked', len(clicks))
        display(HTML('<b>bold words</b>'))
button.on_click(clicked)
slider, text, play = w.IntSlider(description='$x^2$'), w.IntText(), w.Play()
w.jslink((slider, 'value'), (text, 'value'))
tab = w.Tab([w.VBox([button, out]), slider, w.Dropdown(options=['a', 'b'])], titles=['A', 'B', 'C'])
display(tab, text, w.HTML('<b>plain</b> page'), w.Label('a label'), w.ColorPicker())
list(tqdm(range(5), desc='steps'))
w.interact(lambda n=3: print('squared', n * n))
None"""
    )
    shown.get_by_role("button", name="Go").click()
    expect(shown.get_by_text("clicked 1")).to_be_visible()
    expect(shown.locator("b", has_text="bold words")).to_be_visible()
    expect(shown.get_by_text("5/5")).to_be_visible()
    expect(shown.get_by_text("squared 9")).to_be_visible()
    shown.get_by_role("tab", name="B").click()
    readout = shown.locator(".widget-tab .widget-readout").first
    readout.click()
    nb.page.keyboard.press("Control+A")
    nb.page.keyboard.type("42")
    nb.page.keyboard.press("Enter")
    expect(shown.locator("input[type=number]").first).to_have_value("42")
    number = shown.locator(".widget-interact .widget-readout")
    number.click()
    nb.page.keyboard.press("Control+A")
    nb.page.keyboard.type("5")
    nb.page.keyboard.press("Enter")
    expect(shown.get_by_text("squared 25")).to_be_visible()
    expect(nb.run("print(slider.value, text.value)")).to_have_text("42 42")
    nb.shoot("widgets")
    # All states at once, over the control comm.
    nb.page.keyboard.press("Control+S")
    expect(nb.page.locator(".jp-mod-dirty")).to_have_count(0)
    nb.page.reload()
    expect(nb.page.locator("b", has_text="plain").first).to_be_visible()
    nb.shoot("widgets-reloaded")


def test_a_widget_that_brings_code_is_a_line_in_its_place(
    sandboxed: Callable[..., Notebook],
) -> None:
    nb = sandboxed()
    nb.run(BEGIN)
    shown = nb.run(
        """
import anywidget
class Own(anywidget.AnyWidget):
    _esm = 'export default {render({el}) {el.textContent = "mine"}}'
display(w.VBox([w.Label('before'), Own(), w.Label('behind')]))"""
    )
    expect(shown.get_by_text("before")).to_be_visible()
    expect(shown.get_by_text("not shown: a widget of anywidget")).to_be_visible()
    expect(shown.get_by_text("behind")).to_be_visible()
    nb.shoot("widget-line")


def test_figures_and_tables_look_as_ever(sandboxed: Callable[..., Notebook]) -> None:
    nb = sandboxed()
    table = nb.run("import pandas\npandas.DataFrame({'price': [1, 2]})")
    expect(table.get_by_role("columnheader", name="price")).to_be_visible()
    plot = nb.run("import matplotlib.pyplot as plt\nplt.plot([1, 3, 2]); plt.show()")
    expect(plot.get_by_role("img")).to_be_visible()
    figure = nb.run("import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[1, 3, 2]))")
    frame = figure.frame_locator("iframe").frame_locator("iframe")
    expect(frame.locator(".main-svg").first).to_be_visible()
    nb.shoot("figures")


def test_why_a_kernel_died_stands_in_its_cell(sandboxed: Callable[..., Notebook]) -> None:
    nb = sandboxed()
    cell = nb.start("import os; os.kill(os.getpid(), 9)")
    expect(cell.locator(".jp-Cell-outputArea")).to_contain_text("killed by SIGKILL")
    nb.shoot("died")
