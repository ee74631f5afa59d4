"""protected_names.py: which modules a kernel's start imports from where it starts, by trying it."""

from __future__ import annotations

import subprocess
import sys

from moat_nb.planning.protected_names import LAUNCH, LAUNCH_MODULES, reason, starts_kernels

IMPORTS = """
import sys
before = set(sys.modules)
import runpy
runpy.run_module("ipykernel_launcher", run_name="other")
for name in sorted({name.partition(".")[0] for name in set(sys.modules) - before}):
    file = getattr(sys.modules.get(name), "__file__", None)
    if file and "ipykernel" not in name:
        print(name)
"""


def test_all_that_a_kernels_start_imports_there_is_known() -> None:
    # -S: with the modules of site, which nobody's directory comes before, fewer would be found.
    argv = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{IMPORTS}"]
    found = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    assert {"contextlib", "types", "pathlib"} <= set(found)
    assert set(found) <= LAUNCH_MODULES


def test_a_module_counts_in_each_form_that_an_import_takes() -> None:
    for name in ("types.py", "types.pyc", "types.so", "types.cpython-311-x86_64-linux-gnu.so"):
        assert reason(name) == reason(f"nb/{name}") == LAUNCH
    for name in ("re/__init__.py", "nb/re/__init__.pyc"):
        assert reason(name) == LAUNCH
    for name in (
        "types",
        "types.txt",
        "types.d.ts",
        "re/other.py",
        "__init__.py",
        "nb/__init__.py",
    ):
        assert reason(name) == ""


def test_kernels_start_at_the_top_and_beside_notebooks_and_in_no_package() -> None:
    assert starts_kernels(["__init__.py"], top=True)
    assert starts_kernels(["types.py"], top=False)
    assert starts_kernels(["__init__.py", "a.ipynb"], top=False)
    assert not starts_kernels(["__init__.py", "types.py"], top=False)
