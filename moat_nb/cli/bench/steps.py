"""``python -m moat_nb.cli.bench.steps PROJECT RUNTIME``: where the time of a cold start goes.

Each step is what lies between the ends of two of the launcher's own functions, so that they add up
to the whole; medians of starts one after another.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from moat_nb.cli.bench.kernels import first_reply
from moat_nb.jupyter.kernel_manager import Kernel
from moat_nb.runtimes.bubblewrap.runtime import Bubblewrap
from moat_nb.runtimes.docker.runtime import Docker
from moat_nb.sandbox import kernels, planner, running
from moat_nb.sandbox.guest_client import GuestClient
from moat_nb.sandbox.sandbox import Sandbox
from moat_nb.text.progress import Silent
from moat_nb.text.tables import table

__all__ = ["main", "steps"]

RUNS = 15

ENDS: tuple[tuple[Any, str, str], ...] = (
    (planner, "plan_project", "moat.yaml is read and planned"),
    (running, "make_mount_points", "run directory, image looked up, mount points"),
    (Docker, "start", "the container: create and start"),
    (Bubblewrap, "start", "the container: create and start"),
    (running.RunningSandbox, "_bring_up", "the guest is up and has proved the excludes"),
    (GuestClient, "spawn", "the guest imports what kernels need, and forks"),
    (kernels, "_await_sockets", "the kernel listens"),
)
"""Whose end is the end of which step, in their order."""
REST = ("jupyter_client's own, 10 ms of it a pause", "kernel_info and the first cell")


def main() -> None:
    project, runtime = sys.argv[1:]
    rows = [("STEP", "MS", "SINCE THE BEGIN")]
    since = 0.0
    for label, seconds in steps(project, runtime, RUNS).items():
        since += seconds
        rows.append((label, f"{seconds * 1000:.1f}", f"{since * 1000:.1f}"))
    print(table(rows))


def steps(project: Path | str, runtime: str, runs: int) -> dict[str, float]:
    """Median seconds of each step, in their order."""
    found: dict[str, list[float]] = {}
    for _ in range(runs):
        before = 0.0
        for label, end in _one(project, runtime):
            found.setdefault(label, []).append(end - before)
            before = end
    return {label: statistics.median(readings) for label, readings in found.items()}


def _one(project: Path | str, runtime: str) -> list[tuple[str, float]]:
    """Seconds from the begin of a start to each step's end."""
    ends: list[tuple[str, float]] = []
    begin = time.perf_counter()

    def ended(label: str) -> None:
        ends.append((label, time.perf_counter() - begin))

    with ExitStack() as stack:
        for owner, name, label in ENDS:
            stack.enter_context(_watched(owner, name, functools.partial(ended, label)))
        box = stack.enter_context(Sandbox.launch(project, runtime, progress=Silent, pooled=False))
        kernel = stack.enter_context(Kernel.launch(box))
        ended(REST[0])
        first_reply(kernel.kc, begin)
        ended(REST[1])
        return ends


@contextmanager
def _watched(owner: Any, name: str, ended: Callable[[], None]) -> Iterator[None]:
    """``ended`` is called whenever the function has returned."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        finally:
            ended()

    setattr(owner, name, watched)
    try:
        yield
    finally:
        setattr(owner, name, function)


if __name__ == "__main__":
    main()
