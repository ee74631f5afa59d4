"""``moat-nb bench``: how long kernels take, each as a ratio to a plain local ipykernel's.

All measures of one run are taken in turns, so that what else the machine does meets all alike;
what is compared are medians. A start is timed to the first execute_reply, by a client of its own:
``wait_for_ready`` would add 0.2 s of silence to each side.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from moat_nb.errors import MoatError
from moat_nb.host import Host
from moat_nb.kernels import Kernel
from moat_nb.parse import load
from moat_nb.planning import RUNTIMES
from moat_nb.progress import Silent
from moat_nb.sandbox import Sandbox
from moat_nb.tables import table

__all__ = ["Measure", "as_text", "first_reply", "main", "measure", "plain_kernel"]

TIMEOUT = 60
MEGABYTES = 10
ROUND_TRIPS = 50
"""Executions whose mean is one reading of the round trip: a single one is too short to time."""

OUTPUT = f"import sys\nfor _ in range({MEGABYTES}): sys.stdout.write('x' * 1_000_000)"

TARGETS = {
    "cold start": {"bubblewrap": 1.15, "docker": 1.55},
    "further kernel": {"bubblewrap": 0.42, "docker": 0.42},
    "restart": {"bubblewrap": 0.40, "docker": 0.40},
    "round trip": {"bubblewrap": 0.9, "docker": 0.9},
    "10 MB of output": {"bubblewrap": 1.1, "docker": 1.1},
    "memory of a further kernel": {"bubblewrap": 0.7, "docker": 0.7},
}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Medians, in seconds, or bytes for memory."""

    name: str
    runtime: str
    plain: float
    sandboxed: float
    target: float

    @property
    def ratio(self) -> float:
        return self.sandboxed / self.plain


def main(directory: str, *, runs: int, as_json: bool) -> int:
    """Measure every runtime that is usable here, on the project at ``directory``."""
    project = load(directory).path
    runtimes = [
        name
        for name in ("bubblewrap", "docker")
        if RUNTIMES[name](Host.current(), os.environ).available().usable
    ]
    if not runtimes:
        raise MoatError("nothing to measure: no runtime is usable; `moat-nb doctor` says why")
    measures = measure(project, runtimes, runs)
    if as_json:
        print(json.dumps([{**asdict(m), "ratio": m.ratio} for m in measures], indent=1))
    else:
        print(as_text(measures, runs))
    return 0


def as_text(measures: list[Measure], runs: int) -> str:
    rows = [("MEASURE", "RUNTIME", "PLAIN", "SANDBOX", "RATIO", "TARGET", "")]
    for one in measures:
        unit = "MiB" if one.name.startswith("memory") else "ms"
        scale = 1 / (1 << 20) if unit == "MiB" else 1000
        rows.append(
            (
                one.name,
                one.runtime,
                f"{one.plain * scale:.1f} {unit}",
                f"{one.sandboxed * scale:.1f} {unit}",
                f"{one.ratio:.2f}",
                f"<= {one.target:.2f}",
                "reached" if one.ratio <= one.target else "missed",
            )
        )
    return f"{table(rows)}\n\nmedians of {runs}, taken in turns"


def measure(project: Path, runtimes: list[str], runs: int) -> list[Measure]:
    readings: dict[tuple[str, str], list[float]] = {}
    for _ in range(runs):
        turn = {"plain": _plain(), **{name: _sandboxed(project, name) for name in runtimes}}
        for runtime, reading in turn.items():
            for name, value in reading.items():
                readings.setdefault((runtime, name), []).append(value)
    medians = {key: statistics.median(values) for key, values in readings.items()}
    return [
        Measure(
            name=name,
            runtime=runtime,
            # A further kernel is compared with a plain one's start: there is no other.
            plain=medians["plain", "cold start" if name == "further kernel" else name],
            sandboxed=medians[runtime, name],
            target=targets[runtime],
        )
        for name, targets in TARGETS.items()
        for runtime in runtimes
    ]


@contextmanager
def plain_kernel() -> Iterator[KernelManager]:
    """A kernel without a sandbox, until the block ends."""
    manager = KernelManager()
    manager.start_kernel(stderr=subprocess.DEVNULL)  # it warns of TCP, which a sandbox has not
    try:
        yield manager
    finally:
        manager.shutdown_kernel(now=True)


def _plain() -> dict[str, float]:
    begin = time.perf_counter()
    with plain_kernel() as manager:
        client = manager.client()
        reading = {"cold start": first_reply(client, begin), **_readings(manager, client)}
        client.stop_channels()
    return reading


def _sandboxed(project: Path, runtime: str) -> dict[str, float]:
    begin = time.perf_counter()
    with (
        Sandbox.launch(project, runtime, progress=Silent) as box,
        Kernel.launch(box) as first,
    ):
        reading = {"cold start": first_reply(first.kc, begin)}
        begin = time.perf_counter()
        with Kernel.launch(box) as further:
            reading["further kernel"] = first_reply(further.kc, begin)
            reading |= _readings(further, further.kc)
    return reading


def _readings(manager: KernelManager, client: BlockingKernelClient) -> dict[str, float]:
    """What is read of any kernel, once it has answered."""
    reading = {
        "memory of a further kernel": _memory(client),
        "round trip": _timed(lambda: _execute(client, "1", ROUND_TRIPS)) / ROUND_TRIPS,
        f"{MEGABYTES} MB of output": _timed(lambda: _drain(client, OUTPUT)),
    }
    begin = time.perf_counter()
    manager.restart_kernel(now=True)
    _execute_again(client)
    return {**reading, "restart": time.perf_counter() - begin}


def first_reply(client: BlockingKernelClient, begin: float) -> float:
    """Seconds from ``begin`` to the first execute_reply."""
    client.start_channels()
    client.kernel_info(reply=True, timeout=TIMEOUT)
    client.execute("1", reply=True, timeout=TIMEOUT)
    return time.perf_counter() - begin


def _timed(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def _execute(client: BlockingKernelClient, code: str, times: int) -> None:
    for _ in range(times):
        client.execute(code, reply=True, timeout=TIMEOUT)


def _execute_again(client: BlockingKernelClient) -> None:
    """A first reply after a restart: what was sent to the kernel that ended is never answered."""
    client.kernel_info(reply=True, timeout=TIMEOUT)
    client.execute("1", reply=True, timeout=TIMEOUT)


def _drain(client: BlockingKernelClient, code: str) -> None:
    client.execute_interactive(code, timeout=TIMEOUT, output_hook=lambda message: None)


def _memory(client: BlockingKernelClient) -> float:
    """The kernel's proportional set size, in bytes, as it sees it itself."""
    code = (
        "import re\n_pss = re.search(r'Pss:\\s+(\\d+)', open('/proc/self/smaps_rollup').read())[1]"
    )
    reply = client.execute(code, user_expressions={"pss": "int(_pss)"}, reply=True, timeout=TIMEOUT)
    return float(reply["content"]["user_expressions"]["pss"]["data"]["text/plain"]) * 1024
