"""Modules that a sandbox plants beside the notebook, and the ordinary kernel that imports there.

The control is the same import in an ordinary kernel without the magics, in the same directory.
"""

import gc
from contextlib import contextmanager

import pytest
from jupyter_client.manager import KernelManager

from tests.integration.frontend import FrontEnd, opened

MARK = "__version__ = '9'; import builtins; builtins.planted = True"
PLANT = f"%%moat\nfrom pathlib import Path\nPath('{{file}}').write_text({MARK!r})"

# An installed package tries whether another, which is not installed, is there.
OPTIONAL = """\
from pandas.compat._optional import import_optional_dependency
import_optional_dependency("bottleneck", errors="ignore")
"""
FIRST = "import os, sys; sys.path.insert(0, os.getcwd())"
"""As many notebooks begin."""
TELL = "import builtins; print(builtins.__dict__.pop('planted', False))"

ATTACKS = {
    "shadow a module of Python's": ("mailbox.py", "import mailbox"),
    "shadow an installed package": ("plotly.py", "import plotly"),
    "plant a module that an installed one tries": ("bottleneck.py", OPTIONAL),
}


@contextmanager
def plain(project):
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(project))
    front = None
    try:
        front = FrontEnd(manager)
        yield front
    finally:
        if front is not None:
            front.client.stop_channels()
        manager.shutdown_kernel()
        del manager, front
        gc.collect()


def happened(front, cell):
    ran = front.run(f"{cell}\n{TELL}")
    assert ran.reply["status"] == "ok", ran
    return {"True\n": "code of its own run", "False\n": "nothing"}[ran.text()]


def test_nothing_that_a_sandbox_plants_is_imported_by_the_notebooks_own_kernel(launcher, table):
    project = launcher.project(python=True, kernel={"runtime": launcher.runtime})
    with opened(project) as front:
        front.run(FIRST)
        assert front.run("%moat run").reply["status"] == "ok"
        told = ""
        for file, _ in ATTACKS.values():
            ran = front.run(PLANT.format(file=file))
            assert ran.reply["status"] == "ok", ran
            told += ran.text("stderr")
        found = {name: happened(front, cell) for name, (_, cell) in ATTACKS.items()}
        with plain(project) as control:
            control.run(FIRST)
            controls = {name: happened(control, cell) for name, (_, cell) in ATTACKS.items()}
        for name in ATTACKS:
            table(name, launcher.runtime, "nothing", found[name], controls[name])
        assert set(found.values()) == {"nothing"}
        assert set(controls.values()) == {"code of its own run"}
        assert "mailbox" in told and "plotly" in told and "bottleneck" not in told


def test_what_the_user_imports_from_the_workspace_is_found_as_before(launcher):
    project = launcher.project(python=True, kernel={"runtime": launcher.runtime})
    (project / "mine.py").write_text("import helper\nanswer = helper.answer")
    (project / "helper.py").write_text("answer = 42")
    with opened(project) as front:
        started = front.run("%moat run")
        assert started.text("stderr").count("modules are looked for there last") == 1
        ran = front.run("import mine; print(mine.answer)")
        assert ran.text() == "42\n", ran
        assert front.run("%moat reset").text("stderr") == ""
        where = front.run("import sys; print(sys.path[-1] == '', sys.path.count(''))")
        assert where.text() == "True 1\n"
        more = front.run("%%moat\nfrom pathlib import Path\nPath('new.py').write_text('x = 1')")
        assert more.reply["status"] == "ok"
        assert front.run("import new; print(new.x)").text() == "1\n"


@pytest.mark.parametrize("how", ["excluded", "read-only"])
def test_a_directory_that_no_sandbox_can_write_to_stays_where_it_was(on_bubblewrap, how):
    mounts = [{"source": ".", "target": "/workspace"}]
    if how == "excluded":
        mounts[0]["exclude"] = ["notebooks"]
    else:
        mounts[0]["mode"] = "ro"
    project = on_bubblewrap.project(python=True, mounts=mounts, kernel={"runtime": "bubblewrap"})
    notebooks = project / "notebooks"
    notebooks.mkdir(exist_ok=True)
    with opened(notebooks) as front:
        before = front.run("import sys; print(sys.path)").text()
        ran = front.run("%moat run .. -- true")
        assert ran.reply["status"] == "ok", ran
        assert "looked for there last" not in ran.text("stderr")
        assert "''" in before and front.run("print(sys.path)").text() == before
