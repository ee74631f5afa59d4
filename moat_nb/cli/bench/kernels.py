"""How long kernels take, plain and sandboxed: one turn of each, as readings.

A start is timed to the first execute_reply, by a client of its own: ``wait_for_ready`` would add
0.2 s of silence to each side.
"""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from moat_nb.errors import MoatError
from moat_nb.host.run_directory import base_directory
from moat_nb.jupyter.kernel_manager import Kernel
from moat_nb.jupyter.provisioner import MoatProvisioner
from moat_nb.jupyter.relay.process import make_ahead
from moat_nb.sandbox.connection import IPYKERNEL_ARGV
from moat_nb.sandbox.pool import POOL
from moat_nb.sandbox.sandbox import Sandbox
from moat_nb.text.progress import Silent

__all__ = ["first_reply", "plain", "plain_kernel", "pss", "relayed", "sandboxed", "warm"]

TIMEOUT = 60
MEGABYTES = 10
ROUND_TRIPS = 50
"""Executions whose mean is one reading of the round trip: a single one is too short to time."""

RELAY_SECONDS = 0.5
"""For a relay that is made ahead of need; nothing tells that it has imported all."""

OUTPUT = f"import sys\nfor _ in range({MEGABYTES}): sys.stdout.write('x' * 1_000_000)"


@contextmanager
def plain_kernel() -> Iterator[KernelManager]:
    """A kernel without a sandbox, until the block ends."""
    manager = KernelManager()
    manager.start_kernel(stderr=subprocess.DEVNULL)  # it warns of TCP, which a sandbox has not
    try:
        yield manager
    finally:
        manager.shutdown_kernel(now=True)


def plain() -> dict[str, float]:
    begin = time.perf_counter()
    with plain_kernel() as manager:
        client = manager.client()
        reading = {"cold start": first_reply(client, begin), **_readings(client)}
        reading["restart"] = _restart(manager, client)
        client.stop_channels()
    return reading


def sandboxed(project: Path, runtime: str) -> dict[str, float]:
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


@contextmanager
def native_kernel(project: Path, runtime: str) -> Iterator[KernelManager]:
    """A kernel as a Jupyter server starts it: in a sandbox of its own, behind the output relay."""
    provisioner = {"project": str(project), "runtime": runtime}
    manager = KernelManager()
    manager._kernel_spec = KernelSpec(
        argv=list(IPYKERNEL_ARGV),
        display_name="bench",
        language="python",
        metadata={"kernel_provisioner": {"provisioner_name": "moat", "config": provisioner}},
    )
    manager.log.setLevel(logging.WARNING)
    manager.start_kernel()
    try:
        yield manager
    finally:
        manager.shutdown_kernel(now=True)


def relayed(project: Path, runtime: str) -> dict[str, float]:
    """What changes where the output relay stands between."""
    begin = time.perf_counter()
    with native_kernel(project, runtime) as manager:
        client = manager.client()
        reading = {"cold start, relayed": first_reply(client, begin)}
        found = _readings(client)
        for name in ("round trip", f"{MEGABYTES} MB of output"):
            reading[f"{name}, relayed"] = found[name]
        provisioner = manager.provisioner
        assert isinstance(provisioner, MoatProvisioner) and provisioner.relay_pid is not None
        reading["memory of the relay"] = pss(Path(f"/proc/{provisioner.relay_pid}/smaps_rollup"))
        client.stop_channels()
    _fill_pool(project, runtime)
    # As the provisioner does where the file has a pool.
    make_ahead(base_directory(os.environ, os.getuid()))
    time.sleep(RELAY_SECONDS)
    begin = time.perf_counter()
    with native_kernel(project, runtime) as manager:
        client = manager.client()
        reading["warm start, relayed"] = first_reply(client, begin)
        client.stop_channels()
    return reading


def warm(project: Path, runtime: str) -> dict[str, float]:
    """A start that is handed a spare of the pool's."""
    _fill_pool(project, runtime)
    begin = time.perf_counter()
    with (
        Sandbox.launch(project, runtime, progress=Silent, pool=0) as box,
        Kernel.launch(box) as one,
    ):
        return {"warm start": first_reply(one.kc, begin)}


def _fill_pool(project: Path, runtime: str) -> None:
    with (
        Sandbox.launch(project, runtime, progress=Silent, pool=1) as box,
        Kernel.launch(box) as kernel,
    ):
        first_reply(kernel.kc, 0)
        _await(_pool_filled)


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


def pss(rollup: Path) -> float:
    """A process's proportional set size, in bytes."""
    for line in rollup.read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1]) * 1024
    raise MoatError(f"{rollup}: there is no Pss")


def _memory(client: BlockingKernelClient) -> float:
    """The kernel's proportional set size, in bytes, as it sees it itself."""
    code = (
        "import re\n_pss = re.search(r'Pss:\\s+(\\d+)', open('/proc/self/smaps_rollup').read())[1]"
    )
    reply = client.execute(code, user_expressions={"pss": "int(_pss)"}, reply=True, timeout=TIMEOUT)
    return float(reply["content"]["user_expressions"]["pss"]["data"]["text/plain"]) * 1024
