"""The main path: an ordinary user's JupyterLab starts the project's kernel, on each runtime."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import ordinary_user
from tests.browser.test_lab import opened
from tests.conftest import Project
from tests.integration.test_installing import INSTALL, LOOK, write_wheel
from tests.served import home_of, plain

pytestmark = pytest.mark.timeout(900)  # Lab, on a busy machine of two cores

MOAT_YAML = """\
name: test-native
{image}
network: {{policy: none}}
kernel: {{{kernel}}}
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules]
"""

FILL = "open('/tmp/model', 'wb').write(bytes(20 << 20))"
FULL = "/tmp is full: it can hold 16 MiB, which kernel.tmp_size raises"

WHO = "import os; print(os.getuid(), os.getcwd(), os.listdir('node_modules'))"


def moat(home: Path, *words: object) -> str:
    """What the user's command prints."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    env |= {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
    argv = [sys.executable, "-m", "moat_nb", *(str(word) for word in words)]
    done = ordinary_user.run(argv, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed(directory: Path, runtime: str, home: Path) -> str:
    """The name of the kernelspec that the user has installed."""
    moat(home, "install", directory, "--runtime", runtime)
    (kernel,) = (home / ".local/share/jupyter/kernels").iterdir()
    return kernel.name


def image_of(runtime: str, request: pytest.FixtureRequest) -> str:
    """The line of moat.yaml that the runtime needs."""
    if runtime != "docker":
        return ""
    return f"base_image: {request.getfixturevalue('engine').kernel_image}"


@pytest.mark.parametrize("runtime", ["docker", "bubblewrap"])
def test_an_ordinary_users_lab_starts_restarts_and_ends_the_kernel(
    page: Page, project: Project, request: pytest.FixtureRequest, runtime: str
) -> None:
    image = image_of(runtime, request)
    directory = project(MOAT_YAML.format(image=image, kernel="tmp_size: 16"))
    (directory / "node_modules").mkdir()
    (directory / "node_modules/host.txt").write_text("the host's own")
    write_wheel(directory)
    home = home_of(directory)
    kernel = installed(directory, runtime, home)
    user = ordinary_user.ORDINARY.uid if os.getuid() == 0 else os.getuid()
    with plain("lab", directory, home) as served:
        notebook = opened(page, served, "lab", directory, kernel)
        expect(notebook.run(WHO)).to_have_text(f"{user} /workspace []")
        expect(notebook.run(f"{INSTALL}\n{LOOK}")).to_contain_text("Successfully installed")
        expect(notebook.run("1 / 0")).to_contain_text("ZeroDivisionError: division by zero")
        expect(notebook.run(FILL)).to_contain_text(f"moat: {FULL}")
        (id,) = (each["id"] for each in served("GET", "/api/kernels")[1])
        assert served("POST", f"/api/kernels/{id}/restart", {})[0] == 200
        expect(notebook.run(LOOK)).to_have_text("5")
        notebook.shoot(f"native-{runtime}")
        assert served("DELETE", f"/api/kernels/{id}")[0] == 204
        log = served.log.read_text()
        assert "the relay of a kernel's output ended" not in log, log


@pytest.mark.parametrize("runtime", ["docker", "bubblewrap"])
def test_an_ordinary_users_lab_works_on_a_copy_that_is_pulled(
    page: Page, project: Project, request: pytest.FixtureRequest, runtime: str
) -> None:
    text = MOAT_YAML.format(image=image_of(runtime, request), kernel="")
    directory = project(f"{text}workspace: {{mode: volume}}\n")
    (directory / "node_modules").mkdir()
    (directory / "data.txt").write_text("1")
    home = home_of(directory)
    kernel = installed(directory, runtime, home)
    change = "open('data.txt', 'a').write('2'); open('new.txt', 'w').write('3')"
    with plain("lab", directory, home) as served:
        notebook = opened(page, served, "lab", directory, kernel)
        expect(notebook.run(f"{change}; print(open('data.txt').read())")).to_contain_text("12")
        assert (directory / "data.txt").read_text() == "1"
        assert not (directory / "new.txt").exists()
        notebook.shoot(f"native-copy-{runtime}")
        shown = moat(home, "diff", "--project", directory)
        assert "data.txt" in shown
        assert "new.txt" in shown
        moat(home, "pull", "--project", directory)
    assert (directory / "data.txt").read_text() == "12"
    assert (directory / "new.txt").read_text() == "3"


def test_an_idle_end_is_told_below_the_last_cell_and_the_next_cell_starts_another(
    page: Page, project: Project
) -> None:
    directory = project(MOAT_YAML.format(image="", kernel="idle_timeout: 8"))
    (directory / "node_modules").mkdir()
    home = home_of(directory)
    kernel = installed(directory, "bubblewrap", home)
    with plain("lab", directory, home) as served:
        notebook = opened(page, served, "lab", directory, kernel)
        shown = notebook.run("n = 1; print(n)")
        expect(shown).to_contain_text("so it was ended; the next cell starts another")
        text = shown.inner_text()
        assert text.count("it ends in 4 s unless something runs") == 1
        notebook.shoot("native-idle")
        again = notebook.run("print(n)")
        expect(again).to_contain_text("this is a new sandbox, with nothing of the one before")
        expect(again).to_contain_text("NameError")
        notebook.shoot("native-awake")
        assert "connection" not in shown.inner_text()  # of a kernel that is expected to be gone
        (id,) = (each["id"] for each in served("GET", "/api/kernels")[1])
        assert served("DELETE", f"/api/kernels/{id}")[0] == 204
        log = served.log.read_text()
        assert "the relay of a kernel's output ended" not in log, log
