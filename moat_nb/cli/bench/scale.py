"""Many kernels, each in a sandbox of its own: at once, and one after another.

``python -m moat_nb.cli.bench.scale PROJECT GRAPH.png`` draws how long each start took.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from moat_nb.cli.bench.kernels import first_reply
from moat_nb.host.run_directory import base_directory, sandbox_states
from moat_nb.jupyter.kernel_manager import Kernel, own_event_loop
from moat_nb.sandbox.sandbox import Sandbox
from moat_nb.text.progress import Silent

__all__ = ["AT_ONCE", "IN_A_ROW", "Held", "at_once", "draw", "in_a_row"]

AT_ONCE = 40
IN_A_ROW = 200


@dataclass(frozen=True, kw_only=True)
class Held:
    """What this process holds that a sandbox could leave behind."""

    descriptors: int
    threads: int
    children: int
    run_directories: int

    @classmethod
    def now(cls) -> Held:
        base = base_directory(os.environ, os.getuid())
        children = [file.read_text() for file in Path("/proc/self/task").glob("*/children")]
        return cls(
            descriptors=len([*Path("/proc/self/fd").iterdir()]),
            threads=threading.active_count(),
            children=len(" ".join(children).split()),
            run_directories=sum(
                sandbox_state is not None and sandbox_state.owner.pid == os.getpid()
                for _, sandbox_state in sandbox_states(base)
            ),
        )


def at_once(project: Path | str, runtime: str, count: int = AT_ONCE) -> list[float]:
    """Seconds from the common begin to each one's first reply, ascending; all run by then.

    Raises what the first that failed raised.
    """
    begin = time.perf_counter()
    all_run = threading.Barrier(count)

    def one(number: int) -> float:
        try:
            with (
                own_event_loop(),
                Sandbox.launch(project, runtime, progress=Silent, pooled=False) as box,
                Kernel.launch(box) as kernel,
            ):
                seconds = first_reply(kernel.kc, begin)
                all_run.wait()
                return seconds
        except BaseException:
            all_run.abort()
            raise

    with ThreadPoolExecutor(count) as pool:
        return sorted(pool.map(one, range(count)))


def in_a_row(project: Path | str, runtime: str, count: int = IN_A_ROW) -> list[float]:
    """Seconds from each one's begin to its first reply, in their order."""
    readings = []
    for _ in range(count):
        begin = time.perf_counter()
        with (
            Sandbox.launch(project, runtime, progress=Silent, pooled=False) as box,
            Kernel.launch(box) as kernel,
        ):
            readings.append(first_reply(kernel.kc, begin))
    return readings


def draw(path: Path | str, series: Sequence[tuple[str, list[float], list[float]]]) -> None:
    """A PNG of ``(runtime, in_a_row's, at_once's)``; needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    row, together = figure.subplots(1, 2)
    for runtime, one_by_one, common in series:
        row.plot(range(1, len(one_by_one) + 1), one_by_one, ".", markersize=4, label=runtime)
        together.plot(range(1, len(common) + 1), common, ".-", markersize=4, label=runtime)
    row.set(title="one after another", xlabel="number", ylabel="start to first reply, seconds")
    together.set(
        title="all at once", xlabel="kernels that have answered", ylabel="seconds since the begin"
    )
    for axes in (row, together):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(f"kernels, each in a sandbox of its own, on {os.cpu_count()} cores")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    target, graph = sys.argv[1:]
    draw(
        graph,
        [
            (runtime, in_a_row(target, runtime), at_once(target, runtime))
            for runtime in ("bubblewrap", "docker")
        ],
    )
