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
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from moat_nb.config import Config
from moat_nb.errors import MoatError, RuntimeUnavailable
from moat_nb.host import Host
from moat_nb.janitor import Janitor
from moat_nb.kernels import Kernel
from moat_nb.parse import load
from moat_nb.planning import RUNTIMES
from moat_nb.pool import POOL
from moat_nb.progress import Silent, for_user
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
    "warm start": {"bubblewrap": 0.10, "docker": 0.10},
    "further kernel, forked": {"bubblewrap": 0.42, "docker": 0.42},
    "further kernel, spare": {"bubblewrap": 0.12, "docker": 0.12},
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
    config = load(directory)
    runtimes = [name for name in ("bubblewrap", "docker") if _can(config, name)]
    if not runtimes:
        raise MoatError("nothing to measure: no runtime is usable; `moat-nb doctor` says why")
    measures = measure(config.path, runtimes, runs)
    if as_json:
        print(json.dumps([{**asdict(m), "ratio": m.ratio} for m in measures], indent=1))
    else:
        print(as_text(measures, runs))
    return 0


def _can(config: Config, name: str) -> bool:
    """Whether the project can be started on it, its image present; if not, the reason is told."""
    runtime = RUNTIMES[name](Host.current(), os.environ)
    janitor = Janitor()
    progress = for_user()
    try:
        found = runtime.available()
        if not found.usable:
            raise RuntimeUnavailable(found.detail)
        runtime.prepare(config, progress, janitor)
    except MoatError as error:
        print(f"moat-nb: {name} is left out: {error}", file=sys.stderr)
        return False
    finally:
        progress.close()
        janitor.finish()
    return True


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
        turn = {"plain": _plain()}
        for name in runtimes:
            turn[name] = {**_sandboxed(project, name), **_warm(project, name)}
        for runtime, reading in turn.items():
            for name, value in reading.items():
                readings.setdefault((runtime, name), []).append(value)
    medians = {key: statistics.median(values) for key, values in readings.items()}
    return [
        Measure(
            name=name,
            runtime=runtime,
            # Whatever way a kernel is started is compared with a plain one's start.
            plain=medians.get(("plain", name), medians["plain", "cold start"]),
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
        reading = {"cold start": first_reply(client, begin), **_readings(client)}
        reading["restart"] = _restart(manager, client)
        client.stop_channels()
    return reading


def _sandboxed(project: Path, runtime: str) -> dict[str, float]:
    begin = time.perf_counter()
    with (
        Sandbox.launch(project, runtime, progress=Silent, pooled=False) as box,
        Kernel.launch(box) as first,
    ):
        reading = {"cold start": first_reply(first.kc, begin)}
        for name in ("further kernel, forked", "further kernel, spare"):
            begin = time.perf_counter()
            with Kernel.launch(box) as further:  # at once; the second when there is a spare
                reading[name] = first_reply(further.kc, begin)
                reading |= _readings(further.kc)
                _await(box.await_spare)
        reading["restart"] = _restart(first, first.kc)
    return reading


def _warm(project: Path, runtime: str) -> dict[str, float]:
    """A start that is handed a spare of the pool's."""
    with (
        Sandbox.launch(project, runtime, progress=Silent, pool=1) as box,
        Kernel.launch(box) as kernel,
    ):
        first_reply(kernel.kc, 0)
        _await(_pool_filled)
    begin = time.perf_counter()
    with (
        Sandbox.launch(project, runtime, progress=Silent, pool=0) as box,
        Kernel.launch(box) as one,
    ):
        return {"warm start": first_reply(one.kc, begin)}


def _pool_filled() -> bool:
    give_up = time.monotonic() + TIMEOUT
    while not POOL.spares and time.monotonic() < give_up:
        time.sleep(0.05)
    return bool(POOL.spares)


def _await(ready: Callable[[], bool]) -> None:
    if not ready():
        raise MoatError("no kernel was made ahead of need; `moat-nb logs` may say why")


def _readings(client: BlockingKernelClient) -> dict[str, float]:
    """What is read of any kernel, once it has answered."""
    return {
        "memory of a further kernel": _memory(client),
        "round trip": _timed(lambda: _execute(client, "1", ROUND_TRIPS)) / ROUND_TRIPS,
        f"{MEGABYTES} MB of output": _timed(lambda: _drain(client, OUTPUT)),
    }


def _restart(manager: KernelManager, client: BlockingKernelClient) -> float:
    begin = time.perf_counter()
    manager.restart_kernel(now=True)
    # A first reply after a restart: what was sent to the kernel that ended is never answered.
    client.kernel_info(reply=True, timeout=TIMEOUT)
    client.execute("1", reply=True, timeout=TIMEOUT)
    return time.perf_counter() - begin


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


def _drain(client: BlockingKernelClient, code: str) -> None:
    client.execute_interactive(code, timeout=TIMEOUT, output_hook=lambda message: None)


def _memory(client: BlockingKernelClient) -> float:
    """The kernel's proportional set size, in bytes, as it sees it itself."""
    code = (
        "import re\n_pss = re.search(r'Pss:\\s+(\\d+)', open('/proc/self/smaps_rollup').read())[1]"
    )
    reply = client.execute(code, user_expressions={"pss": "int(_pss)"}, reply=True, timeout=TIMEOUT)
    return float(reply["content"]["user_expressions"]["pss"]["data"]["text/plain"]) * 1024
