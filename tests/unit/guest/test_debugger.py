"""ipykernel's debugger without debugpy, in interpreters of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = """
import os, sys
from moat_nb.guest import debugger
before = dict(os.environ)
"""

QUIET = "os.environ['PYDEVD_DISABLE_FILE_VALIDATION'] = '1'\n"

DEFERRED = """
debugger.import_alone()
import ipykernel.debugger as module
from ipykernel.ipkernel import IPythonKernel
from ipykernel.zmqshell import ZMQInteractiveShell
assert module._is_debugpy_available
assert "debugpy" not in sys.modules
"""

USED = """
explorer, other = module.VariableExplorer(), module.VariableExplorer()
explorer.untrack_all()
assert "debugpy" in sys.modules
assert type(explorer) is module.VariableExplorer, module.VariableExplorer
assert explorer.suspended_frame_manager is not None
assert other.get_children_variables is not None
assert type(other) is module.VariableExplorer
os.environ.pop("PYDEVD_USE_FRAME_EVAL", None)  # debugpy's own
assert dict(os.environ) == before
"""

SESSION = """
from unittest.mock import MagicMock
module.get_ipython = MagicMock()
module.Debugger.start(MagicMock(debugpy_initialized=True))
assert "debugpy" in sys.modules
assert module.pydevd_frame_utils.create_frames_list_from_frame
"""


def run(code: str, directory: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("use", ["", USED, SESSION], ids=["unused", "variables", "a session"])
def test_debugpy_is_imported_by_who_uses_it(use: str, tmp_path: Path) -> None:
    run(DEFERRED + use, tmp_path)


def test_one_that_is_there_already_stays(tmp_path: Path) -> None:
    run(
        QUIET + "import debugpy, ipykernel.debugger as module\n"
        "real = module.VariableExplorer\n"
        "debugger.import_alone()\n"
        "assert module.VariableExplorer is real\n",
        tmp_path,
    )


def test_a_debugpy_that_was_imported_before_is_found_again(tmp_path: Path) -> None:
    code = QUIET + "import debugpy\n" + DEFERRED.replace("not in", "in")
    run(code + "assert sys.modules['debugpy'] is debugpy", tmp_path)


def test_without_debugpy_there_is_no_debugger(tmp_path: Path) -> None:
    run(
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'debugpy' else find(name)\n"
        "debugger.import_alone()\n"
        "assert 'ipykernel.debugger' not in sys.modules\n",
        tmp_path,
    )


def test_a_version_that_does_it_in_another_way_is_imported_as_it_is(tmp_path: Path) -> None:
    package = tmp_path / "ipykernel"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "debugger.py").write_text(
        "try:\n"
        "    import debugpy\n"
        "    _is_debugpy_available = True\n"
        "except ImportError:\n"
        "    _is_debugpy_available = False\n"
    )
    (tmp_path / "debugpy.py").write_text("")
    code = "import ipykernel.debugger as module\nassert module._is_debugpy_available\n"
    run("debugger.import_alone()\n" + code + "assert 'debugpy' in sys.modules", tmp_path)


def test_a_version_that_needs_debugpy_is_left_to_who_uses_it(tmp_path: Path) -> None:
    package = tmp_path / "ipykernel"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "debugger.py").write_text("import debugpy\n")
    (tmp_path / "debugpy.py").write_text("")
    run("debugger.import_alone()\nimport ipykernel.debugger, debugpy\n", tmp_path)


def test_a_debugpy_that_does_not_import_is_no_debugger(tmp_path: Path) -> None:
    (tmp_path / "debugpy").mkdir()
    (tmp_path / "debugpy/__init__.py").write_text("")
    code = (
        "try:\n    module.VariableExplorer().track\nexcept ImportError:\n    pass\n"
        "assert not module._is_debugpy_available\n"
    )
    run(DEFERRED + code, tmp_path)
