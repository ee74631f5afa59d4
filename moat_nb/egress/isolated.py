"""The proxy's command: python without anything that the launcher's surroundings could slip in.

The sandbox decides when the proxy starts, and may be able to write to the launcher's working
directory, or to one that its PYTHONPATH names: an ``h11.py`` there would be run on the host.
"""

from __future__ import annotations

import functools
import sys
from importlib.util import find_spec
from pathlib import Path

import moat_nb

__all__ = ["command"]

PACKAGES = ("h11", "aiohappyeyeballs", "cryptography", "_cffi_backend", "typing_extensions")
"""What the proxy imports beside the standard library and this package; the last two are
cryptography's. One that is not there is not needed, or was refused before."""

_PROGRAM = """\
import sys
home, *others = sys.argv[1:]
sys.path.insert(0, home)
import moat_nb
sys.path.remove(home)
sys.path += [home, *others]
from moat_nb.egress.__main__ import main
main()
"""
"""This package is the launcher's own, whatever else is installed; all other modules are looked for
in the interpreter's directories first. ``-I`` leaves out those of the user (``pip install
--user``) and of PYTHONPATH, so where the launcher found what is needed comes behind them."""


def command() -> list[str]:
    """To be started with an empty environment, in a directory that nobody can write to."""
    home = str(Path(moat_nb.__file__).parent.parent)
    return [sys.executable, "-I", "-c", _PROGRAM, home, *_places()]


@functools.cache
def _places() -> tuple[str, ...]:
    """Looked up once, so that a file made later changes nothing for the sandboxes to come."""
    found = (spec.origin for name in PACKAGES if (spec := find_spec(name)) and spec.origin)
    modules = (Path(origin) for origin in found)
    places = (m.parent.parent if m.name == "__init__.py" else m.parent for m in modules)
    return tuple(dict.fromkeys(map(str, places)))
