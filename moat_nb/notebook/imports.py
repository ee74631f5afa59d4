"""Imports of a notebook's own kernel, where a sandbox can write to what it imports from.

An ordinary kernel looks for each module in the notebook's directory first, and a sandbox may write
there: a ``pandas.py`` of its own would be run on the host by the next ``import pandas``. So before
such a sandbox starts, these entries of ``sys.path`` go to its end, and from then on they answer
``import`` statements of the user's own code only: an installed package that tries whether another
one is there finds nothing in them. What a user imports from the workspace by name is the user's to
judge.
"""

from __future__ import annotations

import dis
import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import machinery
from importlib.machinery import FileFinder, ModuleSpec, PathFinder, all_suffixes
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import moat_nb
from moat_nb.planning.mount_paths import can_write
from moat_nb.planning.mounts import MountPlan
from moat_nb.text.terminal import one_line

__all__ = ["Guard", "import_all"]

Tell = Callable[[str], None]

ELSEWHERE = ("cli.bench", "cli.demo", "egress.proxy", "guest", "__main__", "jupyter.shim")
"""Modules of other processes; ``guest`` itself is imported by those that need it."""

MOST_NAMES = 20_000
"""Of a directory; what stands behind them is not looked at."""
NAMES_TOLD = 5

MACHINERY = (__name__, "importlib._bootstrap", "importlib._bootstrap_external")
"""Modules whose frames stand between an import and whoever asked for it."""


def import_all() -> None:
    """Import all of ours that a magic may need, with what it imports in turn, while nothing of a
    sandbox can answer; what an extra would bring is left out where it is missing."""
    prefix = f"{moat_nb.__name__}."
    for found in pkgutil.walk_packages(moat_nb.__path__, prefix):
        if not found.name.removeprefix(prefix).startswith(ELSEWHERE):
            try:
                importlib.import_module(found.name)
            except ImportError:
                continue


class Guard:
    """Of this process, as ``sys.path`` is; it stays for what sandboxes that ended have left."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._plans: list[MountPlan] = []
        self._told: set[str] = set()
        self._seen: set[str] = set()
        """Modules' names when they were last looked at."""

    def before_start(self, plan: MountPlan) -> None:
        """Called with what the sandbox will see, before it can write anything."""
        self._plans.append(plan)
        open_ones = [entry for entry in sys.path if self._is_open(entry)]
        if not open_ones:
            return
        # `%pip`, multiprocessing and joblib start pythons of their own in this directory.
        os.environ["PYTHONSAFEPATH"] = "1"
        if self._answer not in sys.path_hooks:
            sys.path_hooks.insert(0, self._answer)
        for entry in open_ones:
            sys.path_importer_cache.pop(entry or str(Path.cwd()), None)
        if sys.path[-len(open_ones) :] != open_ones:
            sys.path[:] = [entry for entry in sys.path if entry not in open_ones] + open_ones
            named = ", ".join(one_line(entry) or "the notebook's directory" for entry in open_ones)
            self._tell(f"a sandbox can write to {named}: modules are looked for there last")
        self.look()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look before and after the block."""
        self.look()
        try:
            yield
        finally:
            self.look()

    def look(self) -> None:
        """Tell of modules that have the name of an installed one, once each."""
        # No directory's time says that nothing is new: a sandbox sets times back, and a package's
        # file changes the time of the package alone.
        names = {name for entry in sys.path if self._is_open(entry) for name in _names(entry)}
        new, self._seen = names - self._seen - self._told, names
        bad = sorted(name for name in new if _is_installed(name, self._is_open))
        if not bad:
            return
        self._told.update(bad)
        more = f" and {len(bad) - NAMES_TOLD} more" if len(bad) > NAMES_TOLD else ""
        self._tell(
            f"{', '.join(bad[:NAMES_TOLD])}{more}: the workspace has a module with the name of an "
            "installed one; here the installed one is imported"
        )

    def end(self) -> None:
        """Answer no more; for tests, and when the extension is unloaded."""
        if self._answer in sys.path_hooks:
            sys.path_hooks.remove(self._answer)
        for entry, finder in list(sys.path_importer_cache.items()):
            if isinstance(finder, _ForTheUser):
                del sys.path_importer_cache[entry]

    def _is_open(self, entry: str) -> bool:
        path = os.path.realpath(entry or ".")
        return any(can_write(path, plan) for plan in self._plans)

    def _answer(self, entry: str) -> _ForTheUser:
        """A hook of ``sys.path_hooks``."""
        directory = Path(entry).absolute()
        if not directory.is_dir() or not self._is_open(entry):
            raise ImportError(f"{entry} is for others to import from")
        return _ForTheUser(str(directory), self._is_open)


class _ForTheUser:
    """Finds modules in one directory, for code that is not installed."""

    def __init__(self, directory: str, is_open: Callable[[str], bool]) -> None:
        self._finder = FileFinder(directory, *_loaders())
        self._is_open = is_open

    def find_spec(self, name: str, target: ModuleType | None = None) -> ModuleSpec | None:
        if not self._is_reload(target) and not self._is_asked_for(name):
            return None
        return self._finder.find_spec(name, target)

    def invalidate_caches(self) -> None:
        self._finder.invalidate_caches()

    def _is_reload(self, target: ModuleType | None) -> bool:
        """Of a module that the user imported from where a sandbox can write."""
        file = getattr(target, "__file__", None)
        return isinstance(file, str) and self._is_open(str(Path(file).absolute().parent))

    def _is_asked_for(self, name: str) -> bool:
        """By a statement of a cell, of a program, or of a module that itself lies where a sandbox
        can write. Compiled code has no frame: what it imports, the cell that called it seems to
        import, but at a call."""
        frame = _importer()
        if frame is None or not _is_statement_of(frame, name):
            return False
        file = frame.f_globals.get("__file__")
        if frame.f_globals.get("__name__") == "__main__":
            return True
        return isinstance(file, str) and self._is_open(str(Path(file).absolute().parent))


def _importer() -> FrameType | None:
    """The code that asked for the import that is under way."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in MACHINERY:
        frame = frame.f_back
    return frame


def _is_statement_of(frame: FrameType, name: str) -> bool:
    """Whether it is at an ``import`` of the package that ``name`` belongs to."""
    steps = dis.get_instructions(frame.f_code)
    # The place is that of the prefix in old Pythons.
    steps = (one for one in steps if one.offset >= frame.f_lasti and one.opname != "EXTENDED_ARG")
    step = next(steps, None)
    if step is None or step.opname != "IMPORT_NAME":
        return False
    package = frame.f_globals.get("__package__")  # of a relative import
    return _root(name) in (_root(step.argval), _root(package))


def _root(name: Any) -> str:
    return name.partition(".")[0] if isinstance(name, str) else ""


def _names(entry: str) -> Iterator[str]:
    """Of the modules in a directory."""
    try:
        with os.scandir(entry or ".") as found:
            for _, item in zip(range(MOST_NAMES), found, strict=False):
                if name := _module(item):
                    yield name
    except OSError:
        return


def _loaders() -> list[tuple[type, list[str]]]:
    """As the interpreter's own finder has them."""
    return [
        (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
        (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
        (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    ]


def _module(item: os.DirEntry[str]) -> str | None:
    """The name by which a file or a package is imported; None for what is no module."""
    for suffix in all_suffixes():
        if item.name.endswith(suffix):
            name = item.name.removesuffix(suffix)
            return name if name.isidentifier() else None
    is_package = item.name.isidentifier() and Path(item.path, "__init__.py").is_file()
    return item.name if is_package else None


def _is_installed(name: str, is_open: Callable[[str], bool]) -> bool:
    if name in sys.stdlib_module_names or name in sys.builtin_module_names:
        return True
    return PathFinder.find_spec(name, [e for e in sys.path if not is_open(e)]) is not None
