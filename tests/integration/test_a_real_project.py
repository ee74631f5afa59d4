"""notebooks/a_real_project, run as its first cell says, by an ordinary user on each runtime."""

from __future__ import annotations

import hmac
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from filelock import FileLock

import moat_nb
from tests import ordinary_user
from tests.conftest import Project
from tests.served import give, home_of

SOURCE = Path(moat_nb.__file__).parent.parent / "notebooks" / "a_real_project"
NOTEBOOK = "04_a_real_project.ipynb"
KERNEL = "moat-bakery"
KEY = "sourdough-for-the-mill"

WIDGET = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"


@dataclass(frozen=True, kw_only=True)
class Bakery:
    """A copy of the project, an ordinary user's, who has its kernel installed."""

    directory: Path
    home: Path

    def __call__(self, *words: str) -> str:
        """What ``python -m WORDS`` prints to both streams; it must succeed."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "BAKERY_KEY": KEY}
        env |= {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
        argv = [sys.executable, "-m", *words]
        done = ordinary_user.run(argv, env=env, cwd=self.directory, timeout=500)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return str(done.stdout + done.stderr)


def bakery(project: Project, runtime: str, lock: str, **keys: Any) -> Bakery:
    """The project with ``keys`` in its moat.yaml, approved and installed for ``runtime``."""
    directory = project("", name="bakery")
    made_by_hand = shutil.ignore_patterns("forecast.csv", ".ipynb_checkpoints", "__pycache__")
    shutil.copytree(SOURCE, directory, dirs_exist_ok=True, ignore=made_by_hand)
    if keys:
        text = yaml.safe_load((SOURCE / "moat.yaml").read_text())
        (directory / "moat.yaml").write_text(yaml.safe_dump(text | keys))
    home = home_of(directory)
    for path in directory.rglob("*"):
        give(path)
    made = Bakery(directory=directory, home=home)
    made("moat_nb", "allow", "--yes")
    if runtime != "bubblewrap":
        with FileLock(lock):  # who comes second finds the image
            made("moat_nb", "build", "--runtime", runtime)
    assert f"installed {KERNEL} in " in made("moat_nb", "install", "--runtime", runtime)
    return made


def on(runtime: str, request: pytest.FixtureRequest) -> Bakery:
    """The project where ``runtime`` is; on Docker with images of the tests' own."""
    keys = {}
    if runtime == "docker":
        services = request.getfixturevalue("services")
        keys["base_image"] = request.getfixturevalue("engine").kernel_image
        keys["services"] = {"postgres": {"image": services.postgres}}
    lock = f"{request.getfixturevalue('ask').directory}/bakery.lock"
    return bakery(request.getfixturevalue("project"), runtime, lock, **keys)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("runtime", "database"), [("bubblewrap", "sqlite"), ("docker", "postgresql")]
)
def test_it_runs_to_its_end(request: pytest.FixtureRequest, runtime: str, database: str) -> None:
    made = on(runtime, request)
    before = files_below(made.directory)
    # No `interact` in it: nbclient misses replies while it serves an Output widget, of any kernel.
    options = ("--to", "notebook", "--execute", "--output", "ran.ipynb")
    made("jupyter", "nbconvert", *options, NOTEBOOK)
    ran = nbformat.read(made.directory / "ran.ipynb", as_version=4)
    said = {cell.id: texts(cell) for cell in ran.cells if cell.cell_type == "code"}
    lacks = "the kernel starts without postgres: bubblewrap cannot run any service"
    assert (lacks in said["data"]) == (database == "sqlite")
    assert "R² on the last eight weeks: 0.9" in said["model"]
    assert said["database"].startswith(f"{database}\n")
    assert said["excluded"] == "customers: []\ncustomers: ['guess.csv']\n"
    signed = hmac.digest(KEY.encode(), (made.directory / "forecast.csv").read_bytes(), "sha256")
    assert said["secret"] == f"forecast.csv is signed: {signed.hex()[:16]}\n"
    shows_its_plot_and_widget(ran)
    after = files_below(made.directory)
    assert {path.name for path in {*after} - {*before}} == {"ran.ipynb", "forecast.csv"}
    assert after.items() >= before.items()
    everything = {**after, **files_below(made.home)}
    assert not [path for path, data in everything.items() if KEY.encode() in data]


def files_below(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def shows_its_plot_and_widget(ran: Any) -> None:
    (plot,) = output_of(ran, "plot")
    assert plot["data"]["image/png"].startswith("iVBOR")  # PNG's first bytes
    (view,) = output_of(ran, "widget")
    model = view["data"][WIDGET]["model_id"]
    state = ran.metadata.widgets[STATE]["state"]
    assert state[model]["model_name"] == "VBoxModel"
    parts = {one["model_name"]: one["state"] for one in state.values()}
    assert parts["IntSliderModel"]["value"] == 18
    assert parts["LabelModel"]["value"].startswith("On a Saturday with 18 °C: ")


def output_of(ran: Any, name: str) -> list[Any]:
    (cell,) = (cell for cell in ran.cells if cell.id == name)
    return [output for output in cell.outputs if "data" in output]


def texts(cell: Any) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)
