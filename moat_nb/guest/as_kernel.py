"""Imports ahead of a kernel that decide what they would in it.

A module may decide something when it is imported: pyplot its backend, tqdm.auto between text and a
widget, others by a variable. The guest has no shell, and not the variables of the kernel to come.
So its imports are watched: which modules ask for a shell, to be imported anew in the kernel, and
which variables are read, so that a kernel with another value is no fork of the guest. Who looks by
the name that a shell gives to its cells, as pandas does, is answered as in the kernel.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import sys
from types import FrameType, ModuleType
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set

OWN = ("IPython", "ipykernel")
"""Packages that are a kernel themselves: they ask for a shell when there is one."""
BACKEND = "module://matplotlib_inline.backend_inline"
"""What ipykernel says in MPLBACKEND before the first cell, unless that is there."""

variables_read: Set[str] = set()
"""Names of variables, there or not, that the imports have read."""


def is_own(name: str) -> bool:
    return name.partition(".")[0] in OWN


def import_all(names: Sequence[str], load: Callable[[Sequence[str]], None]) -> None:
    """Have ``load`` import ``names``, and forget those modules whose imports belong in a kernel."""
    before = set(sys.modules)
    asked: Set[str] = set()
    undo = [_watch_shell(asked), _watch_variables()]
    arguments, sys.argv = sys.argv, [_program()]
    backend = os.environ.get("MPLBACKEND")
    os.environ.setdefault("MPLBACKEND", BACKEND)
    try:
        load(names)
    finally:
        for step in undo:
            step()
        sys.argv = arguments
        if backend is None:
            os.environ.pop("MPLBACKEND", None)
        variables_read.add("MPLBACKEND")
        for name in _depend_on(asked, set(sys.modules) - before):
            del sys.modules[name]


def _program() -> str:
    launcher = importlib.util.find_spec("ipykernel_launcher")
    return launcher.origin if launcher and launcher.origin else "ipykernel_launcher"


class _Answers:
    """A shell for who is imported: of what kind it is it answers as the kernel's will, and who does
    more with it is noted. Whoever keeps it has the kernel's shell by it later. pandas, with half of
    its modules compiled, cannot be imported a second time."""

    def __init__(self, asked: Set[str], real: Callable[[], Any]) -> None:
        self._moat_asked, self._moat_real = asked, real
        self._moat_watched = True

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # of isinstance, too
        return getattr(sys.modules.get("ipykernel.zmqshell"), "ZMQInteractiveShell", _Answers)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if not self._moat_watched:
            return getattr(self._moat_real(), name)
        if name == "config":
            return {"IPKernelApp": {}}
        used = _Used(self._moat_asked)
        return used if name == "kernel" else used()


class _Used:
    """Anything of a shell's. Who uses it is to be imported anew, whatever comes of it here."""

    def __init__(self, asked: Set[str]) -> None:
        self._moat_asked = asked

    def __call__(self, *arguments: Any, **options: Any) -> "_Used":
        self._moat_asked.update(_importing())
        return self

    def __getattr__(self, name: str) -> "_Used":
        if name.startswith("__"):
            raise AttributeError(name)
        return self()

    def __getitem__(self, name: Any) -> "_Used":
        return self()

    def __iter__(self) -> Iterator[Any]:
        self()
        return iter(())


_Answers.__name__ = "ZMQInteractiveShell"


def _watch_shell(asked: Set[str]) -> Callable[[], None]:
    """Note which modules ask for a shell while they are imported; returns what ends it."""
    modules = [importlib.import_module(name) for name in ("IPython", "IPython.core.getipython")]
    real = modules[0].get_ipython
    shell = _Answers(asked, real)

    # Whoever keeps it gets the kernel's shell by it later.
    def get_ipython() -> Any:
        asked.update(_importing())
        return real()

    for module in modules:
        module.get_ipython = get_ipython  # type: ignore[attr-defined]
    builtins.get_ipython = lambda: shell  # type: ignore[attr-defined]

    def end() -> None:
        shell._moat_watched = False
        for module in modules:
            module.get_ipython = real  # type: ignore[attr-defined]
        del builtins.get_ipython  # type: ignore[attr-defined]

    return end


def _importing() -> Iterator[str]:
    """The modules whose bodies are run now."""
    frame: Optional[FrameType] = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            yield frame.f_globals.get("__name__", "")
        frame = frame.f_back


def _watch_variables() -> Callable[[], None]:
    """Note which variables are read; returns what ends it."""
    kind: Any = type(os.environ)
    real = kind.__getitem__

    def read(environ: Any, name: str) -> str:
        variables_read.add(name)
        value: str = real(environ, name)
        return value

    kind.__getitem__ = read

    def end() -> None:
        kind.__getitem__ = real

    return end


def _depend_on(asked: Set[str], imported: Set[str]) -> List[str]:
    """Of the modules that were imported those that asked, those below them, as a package that is
    imported anew has none of them as an attribute, and those that hold something of them."""
    found = {name for name in asked & imported if not is_own(name)}
    rest = {name: module for name in imported - found if (module := _python(name)) is not None}
    grown = bool(found)
    while grown:
        more = {
            name
            for name, module in rest.items()
            if name.rpartition(".")[0] in found or _holds(module, found)
        }
        found |= more
        for name in more:
            del rest[name]
        grown = bool(more)
    return sorted(found)


def _python(name: str) -> Optional[ModuleType]:
    """The module, if it is one of Python's own code that can be run once more."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None) or ""
    return module if not is_own(name) and file.endswith(".py") else None


def _holds(module: ModuleType, found: Set[str]) -> bool:
    values: Dict[str, Any] = dict(vars(module))
    package = module.__name__ + "."
    for value in values.values():
        if isinstance(value, ModuleType):
            # A package has its own modules as attributes, whoever imported them.
            if value.__name__ in found and not value.__name__.startswith(package):
                return True
        elif isinstance(value, (type, type(is_own))) and value.__module__ in found:
            return True
    return False
