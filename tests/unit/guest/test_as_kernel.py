"""as_kernel.py: imports of the guest's that are to be as if a kernel had made them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from moat_nb.guest import as_kernel

MODULES = {
    "asks.py": "import IPython\nSHELL = IPython.get_ipython() is not None\ndef f(): pass\n",
    "named.py": "get_ipython().events.register('post_execute', print)\n",
    "looks.py": (
        "from IPython.core.interactiveshell import InteractiveShell\nip = get_ipython()\n"
        "KIND = [type(ip).__name__, ip.__class__.__name__, isinstance(ip, InteractiveShell),\n"
        "        hasattr(ip, 'kernel'), 'IPKernelApp' in ip.config]\n"
    ),
    "holds.py": "import json\nfrom asks import f\n",
    "imports.py": "import named\n",
    "later.py": "from IPython import get_ipython\ndef shell(): return get_ipython()\n",
    "reads.py": "import os\nKEY = os.environ.get('KEY')\nWITH = 'OTHER' in os.environ\n",
    "draws.py": "import os, sys\nBACKEND = os.environ['MPLBACKEND']\nARGV = sys.argv\n",
    "package/__init__.py": "import asks\nfrom .below import X\n",
    "package/below.py": "X = 1\n",
    "fails.py": "import asks\nraise ImportError('no such thing')\n",
}
SCRIPT = """
import importlib, json, os, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import IPython, ipykernel.zmqshell
from moat_nb.guest import as_kernel
before = IPython.get_ipython, dict(os.environ), list(sys.argv)
def load(names):
    for name in names:
        importlib.import_module(name)
try:
    as_kernel.import_all(sys.argv[3:], load)
except ImportError as error:
    print(json.dumps(str(error)), file=sys.stderr)
assert before == (IPython.get_ipython, dict(os.environ), sys.argv)
import builtins, draws, later, looks
assert not hasattr(builtins, "get_ipython")
assert later.shell() is None  # the real one, of a process without a shell
assert looks.KIND == ["ZMQInteractiveShell", "ZMQInteractiveShell", True, True, True], looks.KIND
assert not hasattr(looks.ip, "kernel")  # it is the real one by now
there = [name for name in sys.argv[3:] if name in sys.modules]
if "package" in sys.argv:
    import package  # anew
    assert package.below.X == 1
read = sorted(as_kernel.variables_read & {"KEY", "OTHER", "MPLBACKEND", "HOME"})
print(json.dumps([there, read, draws.BACKEND, os.path.basename(draws.ARGV[0])]))
"""


def imported(tmp_path: Path, *names: str) -> tuple[list[object], str]:
    (tmp_path / "package").mkdir()
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    root = str(Path(as_kernel.__file__).parent.parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, root, str(tmp_path), *names],
        check=True,
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path)},
    )
    found: list[object] = json.loads(done.stdout)
    return found, done.stderr


def test_what_asks_for_a_shell_is_forgotten_with_those_that_hold_it(tmp_path: Path) -> None:
    modules = [name.removesuffix(".py") for name in MODULES if name != "fails.py"]
    names = ["package" if name.startswith("package/") else name for name in modules]
    assert imported(tmp_path, *names) == (
        [
            ["looks", "later", "reads", "draws"],
            ["KEY", "MPLBACKEND", "OTHER"],
            as_kernel.BACKEND,
            "ipykernel_launcher.py",
        ],
        "",
    )


def test_a_module_that_does_not_import_leaves_nothing_changed(tmp_path: Path) -> None:
    found, said = imported(tmp_path, "draws", "later", "looks", "fails")
    assert found[0] == ["draws", "later", "looks"]
    assert said == '"no such thing"\n'
