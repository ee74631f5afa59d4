"""What a cell installs: importable in the next line, there after a restart, gone with a reset."""

from __future__ import annotations

import zipfile
from pathlib import Path

from moat_nb.jupyter.kernel_manager import Kernel
from tests.integration.conftest import UNCLOSED_LOOPS, Launcher, wait_until
from tests.integration.notebook import opened
from tests.integration.test_jupyter import Installed, connected, installed, run, runtime

__all__ = ["installed", "runtime"]

pytestmark = UNCLOSED_LOOPS

WHEEL = "moat_five-1.0-py3-none-any.whl"
FILES = {
    "moat_five.py": "VALUE = 5\ndef main(): print('the program', VALUE)\n",
    "moat_five-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: moat-five\nVersion: 1.0\n",
    "moat_five-1.0.dist-info/WHEEL": (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
    "moat_five-1.0.dist-info/entry_points.txt": "[console_scripts]\nmoat-five = moat_five:main\n",
}

INSTALL = f"%pip install --no-index ./{WHEEL}"
PLANT = """
import os, sys
lib = "/lib/python%d.%d/site-packages" % sys.version_info[:2]
packages = os.environ["VIRTUAL_ENV"] + lib
for name in ("-r evil-1.0", "x @ https:\\\\evil-1.0", "evil\\n- y-1.0"):
    os.makedirs(os.path.join(packages, name + ".dist-info"))
    open(os.path.join(packages, name + ".dist-info", "REQUESTED"), "w").close()
"""
"""Names by which a sandbox would have more than packages written."""

LOOK = "import moat_five; print(moat_five.VALUE)"


def write_wheel(directory: Path) -> None:
    with zipfile.ZipFile(directory / WHEEL, "w") as wheel:
        for name, text in FILES.items():
            wheel.writestr(name, text)
        names = [*FILES, "moat_five-1.0.dist-info/RECORD"]
        wheel.writestr(names[-1], "".join(f"{name},,\n" for name in names))


def test_what_a_cell_installs_is_imported_in_its_next_line_and_after_a_restart(
    installed: Installed,
) -> None:
    write_wheel(installed.project)
    with connected(installed) as (manager, client):
        said = run(client, f"{INSTALL}\n{LOOK}")
        assert "Successfully installed moat-five-1.0" in said
        assert said.endswith("\n5\n")
        assert run(client, "!moat-five") == "the program 5\r\n"
        user = INSTALL.replace("install", "install --user --ignore-installed", 1)
        where = "__import__('importlib').reload(moat_five).__file__"
        run(client, "!pip uninstall --yes moat-five")
        assert "/.local/" in run(client, f"{user}\nprint({where})")
        run(client, f"{INSTALL} --force-reinstall")
        run(client, PLANT)
        for _ in range(2):  # the second may be a spare's
            manager.restart_kernel(now=True)
            client.wait_for_ready(timeout=300)
            assert run(client, LOOK) == "5\n"
        freezes(installed)


def freezes(installed: Installed) -> None:
    """The sandbox's user writes what was installed to moat.yaml, and sees it before."""
    file = installed.project / "moat.yaml"
    before = file.read_text()
    words = ("moat_nb", "freeze", str(installed.project))
    shown = installed.jupyter(*words, check=False)
    assert '+    - "moat-five==1.0"' in shown.stdout
    assert "nothing was written, as nobody can be asked; --yes writes it" in shown.stderr
    assert file.read_text() == before
    installed.jupyter(*words, "--yes")
    assert file.read_text() == f'{before}kernel:\n  packages:\n    - "moat-five==1.0"\n'
    again = installed.jupyter(*words, "--yes")
    assert "nothing to change" in again.stderr


def test_a_shells_pip_does_the_same_and_a_reset_takes_it_away(launcher: Launcher) -> None:
    project = launcher.project(python=True)
    write_wheel(project)
    box = launcher.launch(project)
    with Kernel.start(box) as before:
        box.run(["pip", "install", "--no-index", f"./{WHEEL}"], check=True)
        assert run(before.kc, LOOK) == "5\n"
    assert box.run(["moat-five"], check=True).stdout == b"the program 5\n"
    assert box.run(["python3", "-c", LOOK], check=True).stdout == b"5\n"
    box.run(["python3", "-m", "pip", "uninstall", "--yes", "moat-five"], check=True)
    assert box.run(["python3", "-c", LOOK]).returncode == 1
    box.run(["pip", "install", "--no-index", f"./{WHEEL}"], check=True)
    assert box.run(["python3", "-c", LOOK], check=True).stdout == b"5\n"
    box.reset()
    assert box.run(["python3", "-c", LOOK]).returncode == 1


def test_a_notebook_freezes_what_its_sandbox_installed(launcher: Launcher) -> None:
    project = launcher.project(python=True, kernel={"runtime": launcher.runtime})
    write_wheel(project)
    with opened(project) as notebook:
        assert "nothing was installed in it" in str(
            notebook.run("%moat run -- true\n%moat freeze").error
        )
        notebook.good(f"%%moat\n{INSTALL}")
        assert wait_until(lambda: notebook.run("%moat freeze --yes").error is None, 60)
    assert "moat-five==1.0" in (project / "moat.yaml").read_text()
