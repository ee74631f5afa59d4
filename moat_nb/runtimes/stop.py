"""Sandboxes whose launcher is another process: is one there, and its end.

The launcher lives on and sees it gone. A state says what is to be ended; nothing is ended by a
number from it. How, the module of the state's runtime knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from moat_nb.host.run_directory import SandboxState

__all__ = ["end", "is_running"]

_ENGINE = "moat_nb.runtimes.docker.stop"
_ELSEWHERE = "moat_nb.runtimes.elsewhere.stop"
_MODULES = {
    "docker": _ENGINE,
    "podman": _ENGINE,
    "bubblewrap": "moat_nb.runtimes.bubblewrap.stop",
    "apple": "moat_nb.runtimes.apple",
    "ssh": _ELSEWHERE,
    "slurm": _ELSEWHERE,
    "kubernetes": "moat_nb.runtimes.kubernetes.stop",
}
"""Imported when a sandbox is one of theirs: all together take as long as the rest of `ps`."""


class _Stop(Protocol):
    """What such a module has; both take what the functions here do."""

    def is_running(
        self, state: SandboxState, sockets: Path, environ: Mapping[str, str]
    ) -> bool: ...

    def end(self, state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool: ...


def is_running(state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    """Whether the sandbox of ``state`` is there; ``sockets`` is its socket directory.

    An apple container counts as running, since only its launcher can tell quickly.
    """
    return _of(state).is_running(state, sockets, environ)


def end(state: SandboxState, sockets: Path, environ: Mapping[str, str]) -> bool:
    """End the sandbox and return when it is gone; False when it had ended already.

    Raises MoatError when it cannot be ended.
    """
    return _of(state).end(state, sockets, environ)


def _of(state: SandboxState) -> _Stop:
    # A state of another version's runtime: no engine has its container, so it counts as ended.
    return cast("_Stop", import_module(_MODULES.get(state.runtime, _ENGINE)))
