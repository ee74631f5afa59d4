"""What a notebook's own kernel imports where a sandbox can write, and for whom."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from moat_nb.notebook.imports import Guard
from moat_nb.planning.mounts import Bind, MountPlan

START = """\
import importlib, importlib.util, os, pickle, sys
from moat_nb.notebook.imports import Guard
from moat_nb.planning.mounts import Bind, MountPlan
written, installed = sys.argv[1:]
sys.path[:] = [written, *sys.path, installed]
{control}Guard(print).before_start(MountPlan(mounts=(Bind(source=written, target="/w"),)))
"""
"""As a kernel's ``__main__``, in which cells run."""

TRIES = """\
def tries():
    try:
        import planted
    except ImportError:
        pass
"""

# That of pickle is compiled: it has no frame, so its import looks like the cell's.
OTHERS = {
    "compiled code": 'pickle.loads(b"cplanted\\nname\\n.")',
    "compiled code, in a function of the workspace's": "import helper; helper.load()",
    "compiled code, in an import of the cell's": "from lazy import planted",
    "an installed package": "import tries; tries.tries()",
    "one whose name begins as importlib's": "import importlib_tries; importlib_tries.tries()",
    "importlib": "importlib.import_module('planted')",
    "a look whether it is there": "importlib.util.find_spec('planted').loader.load_module()",
}
USERS = {
    "a statement": "import planted",
    "one with names": "from planted import name",
    "one in a function": "def f():\n    import planted\nf()",
    "one behind many names": "".join(f"n{n} = {n}\n" for n in range(300)) + "import planted",
    "one in a module of the workspace's": "import importer",
    "one that is relative": "import package.part",
    "a reload": "import importer; del sys.modules['planted']; importlib.reload(importer)",
}


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, str]:
    """Where a sandbox can write, and what is installed."""
    written, installed = tmp_path / "written", tmp_path / "installed"
    (written / "package").mkdir(parents=True)
    installed.mkdir()
    (written / "planted.py").write_text("print('planted'); name = 1")
    (written / "importer.py").write_text("import planted")
    (written / "helper.py").write_text(
        "import pickle\ndef load():\n    pickle.loads(b'cplanted\\nname\\n.')"
    )
    (written / "package" / "__init__.py").write_text("from . import part")
    (written / "package" / "part.py").write_text("import planted")
    (installed / "lazy").mkdir()
    (installed / "lazy" / "__init__.py").write_text("__getattr__ = __import__  # compiled")
    for name in ("tries", "importlib_tries"):
        (installed / f"{name}.py").write_text(TRIES)
    return str(written), str(installed)


def run(code: str, places: tuple[str, str], *, control: bool = False) -> str:
    start = START.format(control="0 and " if control else "")
    done = subprocess.run(
        [sys.executable, "-c", f"{start}{code}", *places],
        capture_output=True,
        text=True,
        check=False,
        cwd=places[1],
    )
    return done.stdout


@pytest.mark.parametrize("cell", OTHERS.values(), ids=OTHERS)
def test_what_the_user_did_not_import_is_not_found(places: tuple[str, str], cell: str) -> None:
    assert "planted" not in run(cell, places).splitlines()
    assert "planted" in run(cell, places, control=True).splitlines()


@pytest.mark.parametrize("cell", USERS.values(), ids=USERS)
def test_what_the_user_imports_is_found(places: tuple[str, str], cell: str) -> None:
    assert "planted" in run(cell, places).splitlines()


def test_a_name_is_told_of_whenever_it_comes_and_whatever_the_times_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    guard = Guard(told.append)
    (tmp_path / "json").mkdir()
    try:
        guard.before_start(MountPlan(mounts=(Bind(source=str(tmp_path), target="/w"),)))
        told.clear()
        before = tmp_path.stat().st_mtime_ns
        (tmp_path / "mailbox.py").touch()
        os.utime(tmp_path, ns=(before, before))
        guard.look()
        (tmp_path / "json" / "__init__.py").touch()
        guard.look()
        guard.look()
    finally:
        guard.end()
    assert [line.split(":")[0] for line in told] == ["mailbox", "json"]
