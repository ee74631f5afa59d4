"""The live sandboxes of one notebook, each with the one kernel that its cells run in."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from moat_nb.config.file import find
from moat_nb.config.reader import load
from moat_nb.errors import CellInterrupted, MoatError, SandboxGone
from moat_nb.jupyter.cells import connect
from moat_nb.jupyter.kernel_manager import Kernel
from moat_nb.jupyter.output.drawings import Drawings
from moat_nb.notebook.display import DisplayIds
from moat_nb.sandbox.project import LaunchPlan
from moat_nb.sandbox.sandbox import Sandbox
from moat_nb.text.terminal import LOGGER

__all__ = ["Session", "Sessions"]

TURN_SECONDS = 0.2
"""Between two looks at whether a cell that waits is still wanted."""


class Session:
    """A sandbox under a name of this notebook's.

    Its kernel comes and goes under the turn that cells take. Between two kernels there is none,
    and none is left when the second does not start.
    """

    def __init__(self, name: str, sandbox: Sandbox) -> None:
        self.name = name
        self.sandbox = sandbox
        self.displays = DisplayIds()
        self.drawings = Drawings()
        self._turn = threading.Lock()  # held by the cell that runs
        self._settled = threading.Event()  # not set while the kernel is being replaced
        self._settled.set()
        self._kernel: Kernel | None = _start_kernel(sandbox)

    @property
    def project(self) -> Path:
        return self.sandbox.config.directory

    @contextmanager
    def my_turn(self, cancelled: threading.Event) -> Iterator[Kernel]:
        """Wait until no other cell runs in it, and keep others waiting meanwhile; the kernel.

        Raises SandboxGone when it has none.
        """
        while not self._take_turn():
            if cancelled.is_set():
                raise CellInterrupted("the cell was cancelled before it began")
        try:
            self._wake()
            if self._kernel is None:
                raise SandboxGone(self._why_no_kernel())
            self.sandbox.begin_cell()
            with self._hints():
                yield self._kernel
        finally:
            self._turn.release()

    @contextmanager
    def _hints(self) -> Iterator[None]:
        """Have errors say what the user can do."""
        restart = "`%moat restart` starts another kernel"
        try:
            yield
        except SandboxGone as error:
            hint = restart if self.sandbox.gone is None else "`%moat reset` starts it again"
            raise SandboxGone(f"{error}\n{hint}") from error
        except CellInterrupted as error:
            if error.stopped:
                raise
            raise CellInterrupted(f"{error}; {restart}", stopped=False) from error

    def _take_turn(self) -> bool:
        if not (self._settled.wait(TURN_SECONDS) and self._turn.acquire(timeout=TURN_SECONDS)):
            return False
        if self._settled.is_set():
            return True
        # It was the turn of a cell whose kernel is being ended: the next is another kernel's.
        self._turn.release()
        return False

    def _why_no_kernel(self) -> str:
        if self.sandbox.gone is not None:
            return f"{self.name}: {self.sandbox.gone}; `%moat reset` starts it again"
        return f"{self.name}: no kernel runs in it; `%moat restart` starts one"

    def _wake(self) -> None:
        """Another sandbox in place of one that was ended for its time."""
        if self.sandbox.timed_out:
            LOGGER.warning("%s; this is a new sandbox, with nothing of it", self.sandbox.gone)
            ended, self._kernel = self._kernel, None
            if ended is not None:
                ended.close()
            self.drawings.forget()
            self.sandbox.relaunch()
            self._kernel = _start_kernel(self.sandbox)

    @property
    def state(self) -> str:
        """In a word or a few, for people."""
        kernel = self._kernel
        if self.sandbox.gone is not None:
            return "gone"
        if kernel is None:
            return "no kernel"
        how = kernel.ended()
        if how is not None:
            return f"kernel ended: {how}"
        return "busy" if self._turn.locked() else "idle"

    def restart(self) -> None:
        """A new kernel in the same sandbox."""
        if self.sandbox.gone is not None:
            raise SandboxGone(self._why_no_kernel())
        with self._without_kernel():
            self._kernel = _start_kernel(self.sandbox)

    def reset(self) -> None:
        """A new sandbox, of moat.yaml as it is now, and a new kernel in it.

        When moat.yaml is wrong this raises, and the kernel stays as well.
        """
        with ExitStack() as stack:
            self.sandbox.reset(before=lambda: stack.enter_context(self._without_kernel()))
            self._kernel = _start_kernel(self.sandbox)

    def stop(self) -> None:
        with self._without_kernel():
            self.sandbox.stop()

    @contextmanager
    def _without_kernel(self) -> Iterator[None]:
        """Its kernel ended; cells wait until the end of this, the one that runs excepted, which
        fails."""
        self._settled.clear()
        try:
            # A cell that runs in the background notices, and lets go of the client's sockets,
            # which no other thread may touch until then.
            if self._kernel is not None and self._kernel.has_kernel:
                self._kernel.signal_kernel(signal.SIGKILL)
            with self._turn:
                ended, self._kernel = self._kernel, None
                if ended is not None:
                    ended.close()
                self.drawings.forget()
                yield
        finally:
            self._settled.set()


def _start_kernel(sandbox: Sandbox) -> Kernel:
    kernel = Kernel.launch(sandbox, times_cells=False, cwd=str(Path.cwd()))
    try:
        connect(kernel)
    except BaseException:
        kernel.close()
        raise
    return kernel


class Sessions:
    """Sessions by name. The current one, where cells without a name run, is the one that was last
    started or asked for."""

    def __init__(self, before_start: Callable[[LaunchPlan], None] = lambda plan: None) -> None:
        self._known: dict[str, Session] = {}
        self._before_start = before_start

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
        sandbox = Sandbox.launch(directory, before_start=self._before_start, **options)
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

    def stop_all(self, *, told: Callable[[Session], None] = lambda session: None) -> None:
        """Stop each, and call ``told`` with it. One that fails keeps none of the others; the
        first error is raised at the end."""
        failed: list[Exception] = []
        for session in self:
            try:
                self.stop(session)
            except Exception as error:
                failed.append(error)
            else:
                told(session)
        if failed:
            raise failed[0]
