"""A server of the sandbox's in a real browser that is logged in to Jupyter: what its pages find."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import ordinary_user
from tests.browser.conftest import CELL_SECONDS
from tests.browser.test_lab import opened
from tests.browser.test_native import installed
from tests.conftest import Project
from tests.served import Served, home_of, plain

pytestmark = pytest.mark.timeout(900)  # Lab, on a busy machine of two cores

MOAT_YAML = """\
name: test-ports
{image}
network: {{policy: none}}
ports: {{web: 3000}}
"""

# What the page's script sees, and what it plants for others, into its title.
PAGE = b"""<body><script>
document.cookie = "planted=1; path=/";
document.cookie = "planted=1; path=/; domain=localhost";
document.cookie = "planted=1; path=/; domain=127.0.0.1";
document.title = "xsrf seen: " + document.cookie.includes("_xsrf");
</script><h1>COOKIES</h1>"""


class Asked(BaseHTTPRequestHandler):
    """A page that shows which cookies its server was sent."""

    def do_GET(self) -> None:
        names = [part.split("=")[0].strip() for part in self.headers.get("Cookie", "").split(";")]
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE.replace(b"COOKIES", f"cookies: {' '.join(names)}.".encode()))

    def log_message(self, format: str, *arguments: object) -> None:
        pass


INSIDE = f"""\
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
PAGE = {PAGE!r}
class Asked(BaseHTTPRequestHandler):
    def do_GET(self):
        names = [part.split("=")[0].strip() for part in self.headers.get("Cookie", "").split(";")]
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE.replace(b"COOKIES", f"cookies: {{' '.join(names)}}.".encode()))
    def log_message(self, *_):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 3000), Asked)
threading.Thread(target=server.serve_forever, daemon=True).start()
import os; print(os.environ["MOAT_URL_WEB"])
"""


@contextmanager
def control() -> Iterator[str]:
    """The same on this machine's own loopback, as a published port would be."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def seen(page: Page, url: str, served: Served) -> tuple[str, str, bool]:
    """The cookies that the server was sent, what the script saw, whether Jupyter gets what it
    planted."""
    tab = page.context.new_page()
    tab.goto(url)
    heading = tab.get_by_role("heading").text_content() or ""
    title = tab.title()
    assert page.context.cookies(served.url)  # of the Lab, which is logged in
    planted = any(one.get("name") == "planted" for one in page.context.cookies(served.url))
    page.context.clear_cookies(name="planted")
    tab.close()
    return heading, title, planted


@pytest.mark.parametrize("runtime", ["docker", "bubblewrap"])
def test_its_pages_are_no_part_of_jupyters_site(
    page: Page, project: Project, request: pytest.FixtureRequest, runtime: str
) -> None:
    image = ""
    if runtime == "docker":
        image = f"base_image: {request.getfixturevalue('engine').kernel_image}"
    directory = project(MOAT_YAML.format(image=image))
    home = home_of(directory)
    allow(directory, home)
    kernel = installed(directory, runtime, home)
    with plain("lab", directory, home) as served:
        notebook = opened(page, served, "lab", directory, kernel)
        said = notebook.run(INSIDE)
        expect(said).to_contain_text("port web: http://web.test-ports-")
        (url,) = {*re.findall(r"http://web\.[\w.-]+:\d+", said.text_content() or "")}
        notebook.shoot(f"ports-{runtime}")

        with control() as elsewhere:
            heading, title, planted = seen(page, elsewhere, served)
        assert "username-127-0-0-1-" in heading and "_xsrf" in heading
        assert (title, planted) == ("xsrf seen: true", True)
        number = url.rpartition(":")[2]
        for address in (url, f"http://127.0.0.1:{number}/", f"http://localhost:{number}/x?y"):
            assert seen(page, address, served) == ("cookies: .", "xsrf seen: false", False)

        (id,) = (each["id"] for each in served("GET", "/api/kernels")[1])
        assert served("POST", f"/api/kernels/{id}/restart", {})[0] == 200
        expect(notebook.run(INSIDE)).to_have_text(url, timeout=CELL_SECONDS * 1000)
        assert seen(page, url, served) == ("cookies: .", "xsrf seen: false", False)
        assert served("DELETE", f"/api/kernels/{id}")[0] == 204


def allow(directory: Path, home: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    env |= {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
    argv = [sys.executable, "-m", "moat_nb", "allow", "--yes", str(directory)]
    done = ordinary_user.run(argv, env=env)
    assert done.returncode == 0, done.stderr
