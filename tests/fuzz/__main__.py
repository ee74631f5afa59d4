"""`make fuzz`: every target in turns, each with inputs of its own, until the time is over.

    python -m tests.fuzz [SECONDS] [NAME...]

A finding is printed with its smallest input, and the exit code is 1.
"""

from __future__ import annotations

import sys
import time
import traceback

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.targets import TARGETS

SECONDS = 600
ROUND = 50
"""Inputs of one target before the next has its turn."""


def main(argv: list[str]) -> int:
    seconds = float(argv[0]) if argv else SECONDS
    names = argv[1:] or list(TARGETS)
    end = time.monotonic() + seconds
    count, number, failed = dict.fromkeys(names, 0), time.time_ns(), set[str]()
    while time.monotonic() < end and len(failed) < len(names):
        for name in names:
            if name not in failed and time.monotonic() < end:
                number += 1
                if not _round(name, number):
                    failed.add(name)
                count[name] += ROUND
    for name in names:
        print(f"{name:24} {count[name]:>8} inputs  {'FAILED' if name in failed else 'good'}")
    return 1 if failed else 0


def _round(name: str, number: int) -> bool:
    strategy, read = TARGETS[name]
    phases = (Phase.explicit, Phase.generate, Phase.shrink)
    options = settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    try:
        seed(number)(options(given(strategy)(read)))()
    except Exception:
        print(f"---------------- {name}, seed {number}", file=sys.stderr)
        traceback.print_exc()
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
