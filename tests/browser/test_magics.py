"""%moat and %%moat in JupyterLab, as a user sees them."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Notebook, click_in_frame
from tests.conftest import Project
from tests.integration.conftest import wait_until
from tests.unit.jupyter.output.test_markdown import ACTIVE_MARKDOWN

pytestmark = pytest.mark.timeout(900)  # Lab, on a busy machine of two cores

MOAT_YAML = """\
name: test-magics
network:
  policy: none
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules]
kernel:
  runtime: bubblewrap
"""

ATTACK = """\
%%moat
from IPython.display import HTML
HTML('''<p id="said">nothing</p><script>
const said = [];
async function attempt(name, act) {
  try { await act(); said.push(name + ": done"); } catch (error) { said.push(name + ": refused"); }
}
(async () => {
  await attempt("contents", () => fetch("/api/contents"));
  await attempt("network", () => fetch("SERVER/fetch"));
  await attempt("webrtc", () => new RTCPeerConnection({iceServers: [{urls: "stun:HOST"}]}));
  await attempt("page", () => { if (!parent.document.body) throw 1; });
  await attempt("top", () => { if (!top.document.body) throw 1; });
  await attempt("cookie", () => document.cookie);
  await attempt("storage", () => localStorage.length);
  document.getElementById("said").textContent = said.join(", ");
})();
</script>''')
"""

SEND = """\
<p id="said">nothing</p>
<img src="SERVER/image"><script src="SERVER/script"></script><video src="SERVER/video"></video>
<link rel="stylesheet" href="SERVER/style"><link rel="prefetch" href="SERVER/prefetch">
<link rel="modulepreload" href="SERVER/module"><object data="SERVER/object"></object>
<iframe src="SERVER/frame"></iframe><form action="SERVER/form" method="post"></form>
<script>
for (const act of [
  () => navigator.sendBeacon("SERVER/beacon", "x"), () => new EventSource("SERVER/events"),
  () => new WebSocket("ws://HOST/socket"), () => new WebTransport("https://HOST/transport"),
  () => document.forms[0].submit(), () => window.open("SERVER/window"),
  () => import("SERVER/import"), () => new Worker("SERVER/worker"),
  () => new Worker("data:text/javascript,importScripts('SERVER/workers-import')"),
  () => new Worker("data:text/javascript,fetch('SERVER/workers-fetch')"),
  () => parent.location = "SERVER/parent", () => top.location = "SERVER/top",
]) try { Promise.resolve(act()).catch(() => {}); } catch (error) {}
said.textContent = "tried";
said.onclick = () => location = "SERVER/location";
</script>"""


class Server:
    """On loopback: keeps the paths that it is asked for, and answers nothing."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: set[str] = set()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._listener, selectors.EVENT_READ)
            while True:
                for key, _ in waiting.select():
                    if key.fileobj is self._listener:
                        connection, _ = self._listener.accept()
                        waiting.register(connection, selectors.EVENT_READ)
                        continue
                    connection = cast("socket.socket", key.fileobj)
                    waiting.unregister(connection)
                    with connection:
                        data = connection.recv(1000)
                    if data == b"end":
                        for left in list(waiting.get_map().values()):
                            cast("socket.socket", left.fileobj).close()
                        return
                    # A connection over which nothing is sent is one that no policy hinders.
                    self.asked |= {data.decode(errors="replace").split("\r")[0]} - {""}

    def close(self) -> None:
        with socket.create_connection(self._listener.getsockname()) as connection:
            connection.sendall(b"end")
        self._thread.join()

    def in_code(self, code: str) -> str:
        return code.replace("SERVER", f"http://{self.host}").replace("HOST", self.host)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


ATTRIBUTE = """![$" onerror="document.body.title='reached'" y="$](data:image/png;base64,AAAA)"""


@pytest.fixture
def nb(notebook: Callable[..., Notebook], project: Project) -> Notebook:
    opened = notebook(project(MOAT_YAML))
    opened.run("%load_ext moat_nb\n%moat run")
    return opened


def test_a_long_start_is_one_display_that_goes_and_the_sandbox_is_shown_after_it(
    notebook: Callable[..., Notebook], project: Project
) -> None:
    directory = project(MOAT_YAML + "hooks:\n  pre_run: until [ -e go ]; do sleep 0.1; done\n")
    made = notebook(directory)
    made.run("%load_ext moat_nb")
    cell = made.start("%moat run")
    expect(cell.get_by_text("hooks.pre_run")).to_be_visible()
    expect(cell.locator(".jp-OutputArea-child:has(.jupyter-widgets)")).to_have_count(1)
    made.shoot("magics-long-start")
    (directory / "go").touch()
    shown = made.wait(cell)
    expect(shown.get_by_text("hooks.pre_run")).to_be_hidden()
    expect(shown.get_by_role("rowheader", name="network")).to_be_visible()
    made.run("%%moat\nx = bytearray(100 << 20)\nfor i in range(10**8): pass")
    status = made.run("%moat status")
    expect(status.get_by_role("table", name="kernels").get_by_role("img").first).to_be_visible()
    made.run("%moat doctor")
    made.shoot("magics-doctor", made.cells.nth(4))
    for theme in made.themes():
        made.shoot(f"magics-status-{theme}", status)


def test_plots_tables_and_text_look_as_always(nb: Notebook) -> None:
    shown = nb.run(
        "%%moat\nimport matplotlib.pyplot as plt\nplt.figure(figsize=(4, 2))\nplt.plot([1, 2, 4])\n"
        "print('text')"
    )
    expect(shown.get_by_role("img")).to_be_visible()
    table = nb.run("%%moat\nimport pandas as pd\npd.DataFrame({'city': ['Oslo', 'Lima']})")
    expect(table.get_by_role("cell", name="Lima")).to_be_visible()
    expect(table.locator("iframe")).to_have_count(0)
    math = nb.run(
        "%%moat\nfrom IPython.display import *\ndisplay(Markdown('**bold** $a_b$ and '"
        "'$c_d$'), Math('x^2'))"
    )
    expect(math.locator("strong")).to_have_text("bold")
    expect(math.locator("mjx-container")).to_have_count(3)
    expect(math.locator("mjx-container").first).to_be_visible()
    nb.shoot("magics-output")


def test_a_script_of_the_sandbox_cannot_reach_the_page_or_the_server(
    nb: Notebook, server: Server
) -> None:
    shown = nb.run(server.in_code(ATTACK))
    said = shown.frame_locator("iframe").frame_locator("iframe").locator("#said")
    expect(said).to_have_text(
        "contents: refused, network: refused, webrtc: refused, page: refused, top: refused, "
        "cookie: refused, storage: refused"
    )
    nb.shoot("magics-frame")


def test_no_request_leaves_a_frame(nb: Notebook, server: Server) -> None:
    page = server.in_code(SEND)
    shown = nb.run(f"%%moat\nfrom IPython.display import HTML\nHTML({page!r})")
    inner = shown.frame_locator("iframe").frame_locator("iframe")
    expect(inner.locator("#said")).to_have_text("tried")
    click_in_frame(nb.page, inner.locator("#said"))
    # It has gone, and not to where it was not let.
    expect(inner.locator("#said")).to_have_count(0)
    script = server.in_code("<script>fetch('SERVER/control')</script>")
    nb.run(f"%%moat --trust\nHTML({script!r})")
    assert wait_until(lambda: "GET /control HTTP/1.1" in server.asked)
    assert server.asked == {"GET /control HTTP/1.1"}


def test_markdown_of_the_sandbox_does_nothing_in_the_page(nb: Notebook) -> None:
    dialogs: list[str] = []
    nb.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    title = nb.page.title()
    # What loads from elsewhere is for the unit tests: nothing may be sent there, even by mistake.
    texts = [text for text in ACTIVE_MARKDOWN if "example.com" not in text]
    shown = nb.run(f"%%moat\nfrom IPython.display import *\ndisplay(*map(Markdown, {texts!r}))")
    areas = shown.locator(".jp-RenderedHTMLCommon")
    expect(areas).to_have_count(len(texts))
    for link in areas.locator("a, img").all():
        link.hover()
    assert (dialogs, nb.page.title()) == ([], title)
    nb.run(f"%%moat\nMarkdown({ATTRIBUTE!r})")
    body = nb.page.locator("body")
    expect(body).not_to_have_attribute("title", "reached")
    # The mirror, as the front end itself reads it; Lab gives its page another title at any time.
    nb.run(f"%%moat --trust\nMarkdown({ATTRIBUTE!r})")
    expect(body).to_have_attribute("title", "reached")


def test_a_formula_of_the_sandbox_brings_no_style_into_the_page(
    nb: Notebook, server: Server
) -> None:
    formula = server.in_code(r"$\unicode[x;background:url(SERVER/tex)]{x41}$")
    show = "from IPython.display import *\ndisplay(HTML({0!r}), Markdown({0!r}), Latex({0!r}))"
    shown = nb.run("%%moat\n" + show.format(formula))
    expect(shown.get_by_text("unicode")).to_have_count(3)
    expect(shown.locator("mjx-container")).to_have_count(0)
    plain = nb.run("%%moat\n" + show.format(r"$\frac{1}{2}$"))
    expect(plain.locator("mjx-container")).to_have_count(3)
    assert server.asked == set()
    # The mirror: as MathJax itself reads it.
    nb.run("%%moat --trust\n" + show.format(formula))
    assert wait_until(lambda: "GET /tex HTTP/1.1" in server.asked)


def test_a_figure_of_plotlys_is_drawn_in_a_frame(nb: Notebook) -> None:
    code = (
        "%%moat\nimport plotly.graph_objects as go\ngo.Figure(go.Bar(x=['ant', 'bee'], y=[1, 3]))"
    )
    first, second = nb.run(code), nb.run(code)
    for shown in (first, second):
        frame = shown.frame_locator("iframe").frame_locator("iframe")
        expect(frame.get_by_text("bee")).to_be_visible()
    nb.shoot("magics-plotly")
    page = nb.run(
        "%%moat\nfrom IPython.display import HTML\n"
        "HTML(go.Figure(go.Bar(x=['cat'], y=[2])).to_html(full_html=False))"
    )
    expect(page.frame_locator("iframe").frame_locator("iframe").get_by_text("cat")).to_be_visible()


def test_a_script_runs_in_the_page_where_the_user_says_so(nb: Notebook) -> None:
    """The mirror: what --trust lets through is what the frame keeps out."""
    script = "<script>document.title = 'reached'</script>"
    frame = nb.run(f"%%moat\nfrom IPython.display import HTML\nHTML({script!r})").locator("iframe")
    expect(frame).to_be_visible()
    assert nb.page.title() != "reached"
    nb.run(f"%%moat --trust\nHTML({script!r})")
    expect(nb.page).to_have_title("reached")


def test_an_error_is_shown_once_and_as_an_error(nb: Notebook) -> None:
    shown = nb.run("%%moat\nraise LookupError('not there')")
    expect(shown).to_contain_text("LookupError: not there")
    assert shown.inner_text().count("LookupError: not there") == 1


def test_the_stop_button_interrupts_the_sandboxs_cell(nb: Notebook) -> None:
    cell = nb.start("%%moat\nimport time\nprint('begun')\ntime.sleep(600)")
    expect(cell.locator(".jp-Cell-outputArea")).to_contain_text("begun")
    nb.page.get_by_role("button", name="Interrupt the kernel").click()
    expect(nb.wait(cell)).to_contain_text("KeyboardInterrupt")
    expect(nb.run("%%moat\nprint('and on')")).to_have_text("and on")


def test_input_is_asked_in_the_notebook(nb: Notebook) -> None:
    cell = nb.start("%%moat\nprint('hello', input('name: '))")
    box = cell.locator(".jp-Stdin-input")
    expect(box).to_be_visible()
    box.fill("Ada")
    box.press("Enter")
    expect(nb.wait(cell)).to_contain_text("hello Ada")


def test_in_notebook_7_output_errors_and_frames_are_as_in_jupyterlab(
    notebook: Callable[..., Notebook], project: Project, server: Server
) -> None:
    nb = notebook(project(MOAT_YAML), app="notebook")
    shown = nb.run("%load_ext moat_nb\n%moat run")
    expect(shown.get_by_role("rowheader", name="network")).to_be_visible()
    plot = nb.run(
        "%%moat\nimport matplotlib.pyplot as plt\nplt.figure(figsize=(4, 2))\nplt.plot([1, 2, 4])"
    )
    expect(plot.get_by_role("img")).to_be_visible()
    shown = nb.run(server.in_code(ATTACK))
    said = shown.frame_locator("iframe").frame_locator("iframe").locator("#said")
    expect(said).to_contain_text("contents: refused, network: refused, webrtc: refused, page: ")
    crash = nb.run("%%moat\nimport ctypes\ndef lost():\n    ctypes.string_at(0)\nlost()")
    expect(crash).to_contain_text("the kernel ended: killed by SIGSEGV")
    expect(crash).to_contain_text("in lost")
    nb.shoot("magics-notebook7")
