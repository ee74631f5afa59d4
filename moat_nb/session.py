"""The live sandboxes of one notebook, each with the one kernel that its cells run in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq

from moat_nb.cells import MAX_MESSAGE
from moat_nb.errors import MoatError
from moat_nb.kernels import READY_TIMEOUT, Kernel
from moat_nb.parse import find, load
from moat_nb.replay import DisplayIds
from moat_nb.sandbox import Sandbox

__all__ = ["Session", "Sessions"]


class Session:
    """A sandbox under a name of this notebook's. ``turn`` is held by the cell that runs in it."""

    def __init__(self, name: str, sandbox: Sandbox) -> None:
        self.name = name
        self.sandbox = sandbox
        self.displays = DisplayIds()
        self.turn = threading.Lock()
        self.kernel = _start_kernel(sandbox)

    @property
    def project(self) -> Path:
        return self.sandbox.config.directory

    def restart(self) -> None:
        """A new kernel in the same sandbox."""
        self.kernel.close()
        self.kernel = _start_kernel(self.sandbox)

    def reset(self) -> None:
        """A new sandbox, of moat.yaml as it is now, and a new kernel in it."""
        self.kernel.close()
        self.sandbox.reset()
        self.kernel = _start_kernel(self.sandbox)

    def stop(self) -> None:
        self.kernel.close()
        self.sandbox.stop()


def _start_kernel(sandbox: Sandbox) -> Kernel:
    kernel = Kernel.launch(sandbox, cwd=str(Path.cwd()))
    try:
        # A default for the sockets to come; on one that is connected it would not take effect.
        kernel.kc.context.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
        kernel.kc.start_channels(hb=False)
        kernel.kc.wait_for_ready(timeout=READY_TIMEOUT)
    except BaseException:
        kernel.close()
        raise
    return kernel


class Sessions:
    """Sessions by name. The current one, where cells without a name run, is the one that was last
    started or asked for."""

    def __init__(self) -> None:
        self._known: dict[str, Session] = {}

    def __iter__(self) -> Iterator[Session]:
        """The oldest first, the current one last."""
        return iter(tuple(self._known.values()))

    @property
    def names(self) -> list[str]:
        return [session.name for session in self]

    def get(self, name: str | None = None) -> Session:
        """The session of this name, or the current one; MoatError when there is none."""
        if name is None and self._known:
            return list(self._known.values())[-1]
        if name in self._known:
            return self._known[name]
        there = ", ".join(self.names) or "none"
        wanted = f"{name}: this notebook has no sandbox of this name" if name else "no sandbox runs"
        raise MoatError(f"{wanted}; there are: {there}; `%moat run` starts one")

    def find(self, directory: str) -> Session | None:
        """The newest session of the project that ``directory`` lies in."""
        project = find(Path(directory)).parent
        of_project = [session for session in self if session.project == project]
        return of_project[-1] if of_project else None

    def start(self, directory: str, name: str | None, **options: Any) -> Session:
        """Launch a sandbox under ``name``, the project's own unless given; MoatError when this
        name is taken. ``options`` are :meth:`Sandbox.launch`'s."""
        name = name or load(directory).name
        if name in self._known:
            there = self._known[name].project
            raise MoatError(f"{name}: this is the sandbox of {there}; give another --name")
        sandbox = Sandbox.launch(directory, **options)
        try:
            session = Session(name, sandbox)
        except BaseException:
            sandbox.stop()
            raise
        self._known[session.name] = session
        return session

    def make_current(self, session: Session) -> None:
        self._known[session.name] = self._known.pop(session.name)

    def stop(self, session: Session) -> None:
        del self._known[session.name]
        session.stop()

    def stop_all(self) -> None:
        for session in self:
            self.stop(session)
