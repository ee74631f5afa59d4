"""What a process and all below it hold."""

from __future__ import annotations

import subprocess
import sys
import time

from moat_nb.cli.bench.memory import Peak, held

HOLD = "import sys; held = b'x' * (64 << 20); print('ready', flush=True); sys.stdin.read()"
BELOW = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"


def test_what_a_process_below_another_holds_is_counted_while_it_is_there() -> None:
    before = held()
    with Peak() as peak:
        process = subprocess.Popen(
            [sys.executable, "-c", BELOW], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        now = held()
        give_up = time.monotonic() + 60
        while peak.bytes < before + (60 << 20) and time.monotonic() < give_up:
            time.sleep(0.05)
        process.stdin.close()
        process.stdout.close()
        process.wait()
    assert now > before + (60 << 20)
    assert peak.bytes > before + (60 << 20)
    assert held() < now - (60 << 20)


def test_of_a_process_that_is_not_there_nothing_is_held() -> None:
    assert held(0) == 0.0
