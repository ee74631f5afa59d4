"""A cell that runs while the notebook goes on: what ``%%moat --noblock`` returns."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future

from moat_nb.errors import MoatRemoteError

__all__ = ["CellHandle"]


class CellHandle:
    """Its output is shown below the cell that started it, as it comes.

    ``run`` is called in a thread of its own, and ends soon after ``cancelled`` is set.
    """

    def __init__(self, name: str, run: Callable[[], None], cancelled: threading.Event) -> None:
        self._name = name
        self._run = run
        self._cancelled = cancelled
        self._future: Future[None] = Future()
        # A context tells ipykernel which cell output belongs to.
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(self._work,), name="moat-cell", daemon=True
        ).start()

    def _work(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self._future.set_exception(error)
            shown = error.traceback if isinstance(error, MoatRemoteError) else ()
            print("\n".join(shown) or f"{type(error).__name__}: {error}", file=sys.stderr)
        else:
            self._future.set_result(None)

    def done(self) -> bool:
        return self._future.done()

    def result(self, timeout: float | None = None) -> None:
        """Wait for its end, at most ``timeout`` seconds (TimeoutError); raises what it raised."""
        self._future.result(timeout)

    def cancel(self) -> None:
        """Interrupt it, or have it not begin; returns at once."""
        self._cancelled.set()

    def __repr__(self) -> str:
        if not self.done():
            state = "being cancelled" if self._cancelled.is_set() else "running"
        else:
            error = self._future.exception()
            state = "done" if error is None else f"failed: {error}"
        return f"<cell in the sandbox {self._name}, {state}>"
