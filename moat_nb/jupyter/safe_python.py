"""How a client's process runs a module of ours: in the notebook's directory, but not out of it.

``python -m`` looks there first, for the module and for all that it imports, and a sandbox may write
there: a ``yaml.py`` of its own would be run on the host by the next start.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["runs", "words"]

_PROGRAM = (
    "import sys; del sys.path[0]; import runpy; "
    "runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
)
"""What ``-P -m`` does, which Python 3.10 does not have."""


def words(executable: str, module: str) -> tuple[str, ...]:
    """The beginning of a command line; ``executable`` is of this interpreter's version."""
    if sys.version_info >= (3, 11):
        return (executable, "-P", "-m", module)
    return (executable, "-c", _PROGRAM.format(module=module))


def runs(argv: Sequence[str], module: str) -> bool:
    """Whether a command line runs the module, be it as written here or by plain ``-m``."""
    return any(word in (module, _PROGRAM.format(module=module)) for word in argv[1:4])
