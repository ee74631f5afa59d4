"""The live sandboxes of one notebook, each with the one kernel that its cells run in."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moat_nb.errors import CellInterrupted, MoatError, SandboxGone
from moat_nb.jupyter.kernels import Kernel
from moat_nb.notebook.cells import connect
from moat_nb.notebook.replay import DisplayIds
from moat_nb.parse.moat_yaml import find, load
from moat_nb.sandbox import Sandbox
from moat_nb.show.figures import Figures

__all__ = ["Session", "Sessions"]

TURN_SECONDS = 0.2
"""Between two looks at whether a cell that waits is still wanted."""


class Session:
    """A sandbox under a name of this notebook's."""

    def __init__(self, name: str, sandbox: Sandbox) -> None:
        self.name = name
        self.sandbox = sandbox
        self.displays = DisplayIds()
        self.figures = Figures()
        self.turn = threading.Lock()  # held by the cell that runs
        self.kernel = _start_kernel(sandbox)

    @property
    def project(self) -> Path:
        return self.sandbox.config.directory

    @contextmanager
    def my_turn(self, cancelled: threading.Event) -> Iterator[None]:
        """Wait until no other cell runs in it, and keep others waiting meanwhile."""
        while not self.turn.acquire(timeout=TURN_SECONDS):
            if cancelled.is_set():
                raise CellInterrupted("the cell was cancelled before it began")
        self.sandbox.begin_cell()
        try:
            yield
        finally:
            self.turn.release()

    @property
    def state(self) -> str:
        """In a word or a few, for people."""
        if self.sandbox.gone is not None:
            return "gone"
        how = self.kernel.ended()
        if how is not None:
            return f"kernel ended: {how}"
        return "busy" if self.turn.locked() else "idle"

    def restart(self) -> None:
        """A new kernel in the same sandbox."""
        if self.sandbox.gone is not None:
            raise SandboxGone(f"{self.name}: {self.sandbox.gone}; `%moat reset` starts it again")
        self._end_kernel()
        self.kernel = _start_kernel(self.sandbox)

    def reset(self) -> None:
        """A new sandbox, of moat.yaml as it is now, and a new kernel in it."""
        self._end_kernel()
        self.sandbox.reset()
        self.kernel = _start_kernel(self.sandbox)

    def stop(self) -> None:
        self._end_kernel()
        self.sandbox.stop()

    def _end_kernel(self) -> None:
        # A cell that runs in the background notices, and lets go of the client's sockets, which
        # no other thread may touch until then.
        if self.kernel.has_kernel:
            self.kernel.signal_kernel(signal.SIGKILL)
        with self.turn:
            self.kernel.close()


def _start_kernel(sandbox: Sandbox) -> Kernel:
    kernel = Kernel.launch(sandbox, cwd=str(Path.cwd()))
    try:
        connect(kernel)
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
