"""What script in a page of `moat-nb lab` can ask of its server, beside an ordinary Jupyter server.

Each attack is a request with the page's own rights. The control is Jupyter's own server on the same
files, where it succeeds.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.served import Served, give, ours, plain

SECRET = "PASSWORD=hunter2"
CONTROLS = ("node_modules", ".env")

Way = Callable[[Served, Path], str]


def status(answer: tuple[int, Any]) -> str:
    return str(answer[0])


def read(answer: tuple[int, Any]) -> str:
    """Whether what is secret came with it."""
    return "read" if SECRET in str(answer[1]) else str(answer[0])


def start_python3(served: Served, project: Path) -> str:
    return status(served("POST", "/api/kernels", {"name": "python3"}))


def start_python3_for_a_session(served: Served, project: Path) -> str:
    return status(served("POST", "/api/sessions", session("python3")))


def session(kernel: str | None = None) -> dict[str, Any]:
    wanted = {} if kernel is None else {"kernel": {"name": kernel}}
    return {"path": "n.ipynb", "name": "n", "type": "notebook", **wanted}


def exchange_a_sessions_kernel(served: Served, project: Path) -> str:
    _, made = served("POST", "/api/sessions", session())
    try:
        answer = served("PATCH", f"/api/sessions/{made['id']}", {"kernel": {"name": "python3"}})
        return status(answer)
    finally:
        served("DELETE", f"/api/sessions/{made['id']}")


def make_a_terminal(served: Served, project: Path) -> str:
    return status(served("POST", "/api/terminals", {}))


def read_an_exclude(served: Served, project: Path) -> str:
    return read(served("GET", "/api/contents/.env"))


def read_an_excludes_file(served: Served, project: Path) -> str:
    return read(served("GET", "/api/contents/node_modules/token?type=file&format=text"))


def fetch_an_exclude(served: Served, project: Path) -> str:
    return read(served("GET", "/files/.env"))


def fetch_an_exclude_as_a_kernels_logo(served: Served, project: Path) -> str:
    """Of a kernelspec that says no directory, its files are those of the server's."""
    name = served("GET", "/api/kernelspecs")[1]["default"]
    return read(served("GET", f"/kernelspecs/{name}/.env"))


def list_the_excludes(served: Served, project: Path) -> str:
    names = {entry["name"] for entry in served("GET", "/api/contents")[1]["content"]}
    return "listed" if names & {".env", "node_modules"} else "not listed"


def overwrite_an_exclude(served: Served, project: Path) -> str:
    new = {"type": "file", "format": "text", "content": SECRET}
    return status(served("PUT", "/api/contents/.env", new))


def rewrite_moat_yaml(served: Served, project: Path) -> str:
    before = (project / "moat.yaml").read_text()
    new = {"type": "file", "format": "text", "content": before + "# changed\n"}
    served("PUT", "/api/contents/moat.yaml", new)
    return "as it was" if (project / "moat.yaml").read_text() == before else "changed"


def rename_an_excludes_parent(served: Served, project: Path) -> str:
    """The exclude below it is then at a path that no list has."""
    served("PATCH", "/api/contents/deep", {"path": "moved"})
    try:
        return read(served("GET", "/api/contents/moved/secret/token"))
    finally:
        served("PATCH", "/api/contents/moved", {"path": "deep"})


def follow_a_link_out(served: Served, project: Path) -> str:
    (project / "out").symlink_to(project.parent / "outside")
    give(project / "out")
    try:
        return read(served("GET", "/api/contents/out"))
    finally:
        (project / "out").unlink()


def read_through_a_linked_directory(served: Served, project: Path) -> str:
    (project / "up").symlink_to("..")
    give(project / "up")
    try:
        return read(served("GET", "/api/contents/up/outside"))
    finally:
        (project / "up").unlink()


def write_through_a_link_out(served: Served, project: Path) -> str:
    target = project.parent / "outside2"
    target.write_text("the host's")
    give(target)
    (project / "out").symlink_to(target)
    give(project / "out")
    try:
        new = {"type": "file", "format": "text", "content": "changed"}
        served("PUT", "/api/contents/out", new)
        return target.read_text()
    finally:
        (project / "out").unlink()
        target.unlink()


def write_a_checkpoint_through_a_link(served: Served, project: Path) -> str:
    """A file of the sandbox's where host programs run it."""
    startup, directory = project.parent / "startup", project / "made"
    for path in (startup, directory):
        path.mkdir()
    (directory / "00-start.py").write_text("import os")
    (directory / ".ipynb_checkpoints").symlink_to(startup)
    for path in (startup, directory, *directory.iterdir()):
        give(path)
    try:
        served("POST", "/api/contents/made/00-start.py/checkpoints")
        return "written there" if list(startup.iterdir()) else "nothing there"
    finally:
        shutil.rmtree(directory)
        shutil.rmtree(startup)


def read_json_of_the_hosts_as_a_setting(served: Served, project: Path) -> str:
    """A setting's name becomes a path, and this one is absolute."""
    where = str(served.home / ".docker").replace("/", "%2F")
    return read(served("GET", f"/lab/api/settings/{where}:config"))


def write_a_setting_elsewhere(served: Served, project: Path) -> str:
    where = str(served.home / ".docker").replace("/", "%2F")
    served("PUT", f"/lab/api/settings/{where}:config", {"raw": "{}"})
    made = served.home / ".docker" / "config.jupyterlab-settings"
    if not made.exists():
        return "nothing there"
    made.unlink()
    return "written there"


def convert_a_notebook(served: Served, project: Path) -> str:
    return status(served("GET", "/nbconvert/python/n.ipynb"))


def run_the_package_manager(served: Served, project: Path) -> str:
    return status(served("GET", "/lab/api/extensions"))


def choose_a_connection_file(served: Served, project: Path) -> str:
    answer = served("POST", "/api/kernels", {"kernel_id": "../x"})
    return status(answer)


def ask_where_files_are(served: Served, project: Path) -> str:
    return status(served("GET", "/api/resolvePath?path=/etc/passwd"))


def write_to_the_log(served: Served, project: Path) -> str:
    served("PUT", "/api/contents/%1B%5D52%3Bc%3BeA%3D%3D%07", {"type": "file"})
    return "steers" if b"\x1b]52" in served.log.read_bytes() else "plain"


def ask_by_another_name(served: Served, project: Path) -> str:
    return status(served("GET", "/api/contents", host="127.0.0.1"))


WAYS: list[tuple[Way, str, str | None]] = [
    (start_python3, "403", "201"),
    (start_python3_for_a_session, "501", "201"),
    (exchange_a_sessions_kernel, "501", "200"),
    (make_a_terminal, "404", "200"),
    (read_an_exclude, "404", "read"),
    (read_an_excludes_file, "404", "read"),
    (fetch_an_exclude, "404", "read"),
    (fetch_an_exclude_as_a_kernels_logo, "404", None),
    (list_the_excludes, "not listed", "listed"),
    (overwrite_an_exclude, "404", "200"),
    (rewrite_moat_yaml, "as it was", "changed"),
    (rename_an_excludes_parent, "404", "read"),
    (follow_a_link_out, "404", "read"),
    (read_through_a_linked_directory, "404", "read"),
    (write_through_a_link_out, "the host's", "changed"),
    (write_a_checkpoint_through_a_link, "nothing there", "written there"),
    (read_json_of_the_hosts_as_a_setting, "404", "read"),
    (write_a_setting_elsewhere, "nothing there", "written there"),
    (convert_a_notebook, "404", "200"),
    (run_the_package_manager, "404", "200"),
    (choose_a_connection_file, "400", None),  # Jupyter's own then never ends: it counts the kernel
    (ask_where_files_are, "404", "200"),
    (write_to_the_log, "plain", "steers"),
    (ask_by_another_name, "404", "200"),
]


def fill(project: Path) -> None:
    """The project's secrets, and what lies beside it."""
    for name in ("node_modules", "deep", "deep/secret"):
        (project / name).mkdir()
        give(project / name)
    for path in (".env", "node_modules/token", "deep/secret/token"):
        (project / path).write_text(SECRET)
        give(project / path)
    notebook = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    (project / "n.ipynb").write_text(notebook)
    give(project / "n.ipynb")
    (project.parent / "outside").write_text(SECRET)
    give(project.parent)


def home_of(project: Path) -> Path:
    home = project.parent / "home"
    (home / ".docker").mkdir(parents=True)
    (home / ".docker" / "config.json").write_text(f'{{"auth": "{SECRET}"}}')
    for path in (home, home / ".docker", home / ".docker" / "config.json"):
        give(path)
    return home


@pytest.fixture
def attacked(launcher) -> Iterator[tuple[Served, Path]]:
    project = launcher.project("node_modules", ".env", "deep/secret", python=True)
    fill(project)
    with ours("lab", project, launcher.runtime, home_of(project)) as server:
        yield server, project


@pytest.fixture(scope="module")
def controls(run_directory, owner) -> Iterator[tuple[Served, Path]]:
    from tests.conftest import make_project

    project = make_project(run_directory, owner, "name: control\n")
    fill(project)
    with plain("lab", project, home_of(project)) as server:
        yield server, project


def test_a_page_gets_nothing_that_the_sandbox_has_not(attacked, controls, launcher, table) -> None:
    wrong = []
    for way, expected, control in WAYS:
        happened = way(*attacked)
        controlled = None if control is None else way(*controls)
        name = f"lab: {way.__name__.replace('_', ' ')}"
        table(name, launcher.runtime, expected, happened, controlled or "-")
        if (happened, controlled) != (expected, control):
            wrong.append((name, happened, controlled))
    assert wrong == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_server_its_kernels_and_sandboxes(on_bubblewrap, signum) -> None:
    project = on_bubblewrap.project(python=True)
    home = project.parent / "home"
    home.mkdir()
    temporary = project.parent / "tmp"
    temporary.mkdir()
    for path in (home, temporary):
        give(path)
    with ours("notebook", project, "bubblewrap", home, TMPDIR=str(temporary)) as server:
        assert server("POST", "/api/kernels", {})[0] == 201
        assert os.listdir(temporary) != []  # noqa: PTH208
        assert server.end(signum) == 0
        assert os.listdir(temporary) == []  # noqa: PTH208
    assert on_bubblewrap.left(project) == []
