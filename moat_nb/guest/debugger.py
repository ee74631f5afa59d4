"""ipykernel's debugger without debugpy, which is a fifth of all that a kernel imports before its
first reply and a quarter of its memory.

Of the debugger only its explorer of variables is made of debugpy; a session of debugging imports
that by itself. So debugpy is imported when somebody debugs, or looks at variables.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from typing import Any, Dict, Iterator

NAME = "ipykernel.debugger"
NO_WARNING = "PYDEVD_DISABLE_FILE_VALIDATION"


def import_alone() -> None:
    """Import it before what uses it, where that can be had without debugpy."""
    if NAME in sys.modules or importlib.util.find_spec("debugpy") is None:
        return
    kept = sys.modules.get("debugpy")
    sys.modules["debugpy"] = None  # type: ignore[assignment] # an import of it fails
    try:
        module: Any = importlib.import_module(NAME)
    except ImportError:
        return  # of a version that needs it, or has no debugger: who uses it imports it
    finally:
        del sys.modules["debugpy"]
        if kept is not None:
            sys.modules["debugpy"] = kept
    if hasattr(module, "VariableExplorer") and not module._is_debugpy_available:
        _defer(module)
    else:  # of a version that does it in another way
        with _no_warning():
            importlib.reload(module)


def _defer(module: Any) -> None:
    """Have debugpy imported with the first session, or the first use of an explorer."""
    real_explorer, real_start = module.VariableExplorer, module.Debugger.start

    def complete() -> None:
        try:
            vars(module).update(_of_debugpy())
        except ImportError:
            module._is_debugpy_available = False
            raise
        module.VariableExplorer, module.Debugger.start = real_explorer, real_start

    class VariableExplorer:
        def __getattr__(self, name: str) -> Any:
            complete()
            self.__class__ = real_explorer
            self.__init__()  # type: ignore[misc]
            return getattr(self, name)

    def start(self: Any) -> Any:
        complete()
        return real_start(self)

    module.VariableExplorer, module.Debugger.start = VariableExplorer, start
    module._is_debugpy_available = True


def _of_debugpy() -> Dict[str, Any]:
    """What ipykernel's module has of it."""
    with _no_warning():
        importlib.import_module("debugpy.server.api")  # its own directories are importable then
        frames = importlib.import_module("_pydevd_bundle.pydevd_suspended_frames")
        return {
            "pydevd_frame_utils": importlib.import_module("_pydevd_bundle.pydevd_frame_utils"),
            "SuspendedFramesManager": frames.SuspendedFramesManager,
            "_FramesTracker": frames._FramesTracker,
        }


@contextlib.contextmanager
def _no_warning() -> Iterator[None]:
    """debugpy's import warns of frozen modules: in a cell, or as the last that a guest has said."""
    if NO_WARNING in os.environ:
        yield
        return
    os.environ[NO_WARNING] = "1"
    try:
        yield
    finally:
        os.environ.pop(NO_WARNING, None)
