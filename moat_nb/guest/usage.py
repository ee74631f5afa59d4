"""The kernels' memory and CPU, now and over the last two minutes; and the whole sandbox's memory.

A kernel leads a session, and what it starts is of it too, unless that leaves it on purpose.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Tuple

HISTORY = 60
"""Samples that are kept of each kernel; there is one each two seconds."""
GAP_SECONDS = 1.0
"""CPU time is counted in hundredths of a second, so closer samples would say little of its use."""

SESSION, TIMES, RESIDENT = 3, slice(11, 15), 21
"""Where /proc/PID/stat has them behind the program's name: see proc(5)."""

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")

CGROUPS = (
    ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", "inactive_file"),
    (
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Version 2 and version 1. What the kernel would give back at once does not count as used."""


class Usage:
    def __init__(self) -> None:
        self.histories: Dict[str, Deque[Tuple[float, int, int]]] = {}
        self.sampled = float("-inf")

    def sample(self, kernels: Dict[str, int]) -> None:
        """Look at ``kernels``, pids by id, unless the last look has just been."""
        now = time.monotonic()
        if now - self.sampled < GAP_SECONDS and self.histories.keys() == kernels.keys():
            return
        self.sampled = now
        for id in self.histories.keys() - kernels.keys():
            del self.histories[id]
        used = _by_session() if kernels else {}
        for id, pid in kernels.items():
            if pid in used:
                history = self.histories.setdefault(id, deque(maxlen=HISTORY))
                history.append((now, used[pid][0], used[pid][1]))

    def report(self) -> List[Dict[str, Any]]:
        """For each kernel ``[age, memory, cpu]``, the oldest first: milliseconds, bytes, and
        milliseconds of CPU time since it began."""
        now = time.monotonic()
        return [
            {"id": id, "samples": [[int((now - at) * 1000), *rest] for at, *rest in history]}
            for id, history in self.histories.items()
        ]


def _by_session() -> Dict[int, Tuple[int, int]]:
    """Bytes and CPU milliseconds of all processes, by the session that they are of."""
    found: Dict[int, Tuple[int, int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name, "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # it has ended
        session = int(fields[SESSION])
        memory, cpu = found.get(session, (0, 0))
        memory += int(fields[RESIDENT]) * PAGE
        cpu += sum(map(int, fields[TIMES])) * 1000 // TICKS
        found[session] = memory, cpu
    return found


def sandbox_memory() -> Optional[int]:
    """Bytes that all of the sandbox uses, its tmpfs too; None where no cgroup says so."""
    for usage, statistics, reclaimable in CGROUPS:
        try:
            with open(usage) as file:
                used = int(file.read())
            with open(statistics) as lines:
                amounts = dict(line.split() for line in lines)
        except (OSError, ValueError):
            continue
        return max(0, used - int(amounts.get(reclaimable, 0)))
    return None
