"""A process of ours that imports this package and what it names, and nothing else of the user's."""

from __future__ import annotations

import functools
import sys
from importlib.util import find_spec
from pathlib import Path

from moat_nb.host.package import PACKAGE

__all__ = ["command"]

_PROGRAM = """\
import sys
home, module, *others = sys.argv[1:]
sys.path.insert(0, home)
import moat_nb
sys.path.remove(home)
sys.path += [home, *others]
from importlib import import_module
import_module(module).main()
"""
"""This package is always the launcher's own; other modules come from the interpreter's directories
first. ``-I`` leaves out PYTHONPATH and the user's directory (``pip install --user``), so the
places where the launcher found its packages are appended."""


def command(module: str, packages: tuple[str, ...]) -> list[str]:
    """The argv that runs ``main()`` of a module of ours; ``packages`` are its imports beside the
    standard library. Start it with an empty environment in a directory nobody can write to."""
    home = str(PACKAGE.parent)
    return [sys.executable, "-I", "-c", _PROGRAM, home, module, *_places(packages)]


@functools.cache
def _places(packages: tuple[str, ...]) -> tuple[str, ...]:
    """Their directories, looked up once: a file made later changes no later process."""
    origins = (spec.origin for name in packages if (spec := find_spec(name)) and spec.origin)
    modules = (Path(origin) for origin in origins)
    places = (m.parent.parent if m.name == "__init__.py" else m.parent for m in modules)
    return tuple(dict.fromkeys(map(str, places)))
