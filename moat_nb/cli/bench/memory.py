"""How much memory this process and all that it has started hold, at most."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from types import TracebackType

from moat_nb.cli.bench.kernels import pss
from moat_nb.errors import MoatError

__all__ = ["Peak", "held"]

EVERY = 0.2
"""Seconds."""


def held(pid: int | str = "self") -> float:
    """Bytes: the proportional set sizes of a process and of all below it that may be read."""
    found = 0.0
    with contextlib.suppress(OSError, MoatError):  # one that has just ended
        found = pss(Path(f"/proc/{pid}/smaps_rollup"))
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += sum(map(held, (task / "children").read_text().split()))
    return found


class Peak:
    """A context; ``bytes`` is the most that was held in it."""

    def __init__(self) -> None:
        self.bytes = held()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="moat-peak", daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(EVERY):
            self.bytes = max(self.bytes, held())
