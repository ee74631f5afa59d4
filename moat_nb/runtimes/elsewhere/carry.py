"""The stream of a sandbox here, carried to a launcher on another machine, and the sandbox's end.

The end of our stdin ends it, and so does silence: a machine that vanished, or a client that was
stopped, leaves us waiting for ever. The launcher says each 10 s that it lives.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable

from moat_nb.runtimes.base import AttachStream
from moat_nb.runtimes.elsewhere.frames import exactly, framed, read_frame, write

__all__ = ["carry"]

TICK_SECONDS = 5.0
"""Silence is counted in these: no time counts in which this process itself did not run, as on a
machine that was suspended."""
SEND_SECONDS = 60.0
"""For the guest to take what it is sent; the launcher gives it less."""
LEAVE_SECONDS = 5.0
"""For who reads to have the last words."""


def _end_job() -> None:
    """A job of Slurm's outlives an srun that was killed, also when nothing is left to run in it."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is not None:
        with contextlib.suppress(OSError):
            subprocess.Popen(["scancel", job], stdin=subprocess.DEVNULL)


def carry(
    stream: AttachStream,
    source: int,
    sink: int,
    grace: float,
    leave: Callable[[int], object] = os._exit,
) -> str:
    """Until the sandbox has ended, which is when this returns: how.

    Of a launcher that is silent it may not return: then ``leave`` is called.
    """
    why: list[str] = []

    def wait() -> None:
        silent = 0.0
        while not select.select([source], [], [], TICK_SECONDS)[0]:
            silent += TICK_SECONDS
            if silent >= grace:
                raise TimeoutError(f"its launcher said nothing for {grace:g} s")

    def take() -> None:
        try:
            read = exactly(source, wait)
            while True:
                if data := read_frame(read):
                    stream.send(data, SEND_SECONDS)
        except EOFError:
            why.append("its launcher is gone")
        except (TimeoutError, ValueError) as error:
            why.append(str(error))
            _end_job()
            stream.close()
            # Where nobody reads what the sandbox said last, its keeper would stand there for ever.
            # The reaper removes what is left.
            time.sleep(LEAVE_SECONDS)
            leave(1)
        except OSError:
            pass  # the sandbox has ended, and its own words say how
        stream.close()

    threading.Thread(target=take, name="moat-carry", daemon=True).start()
    while data := stream.receive():
        # Before what tells of the death: who reads that asks why.
        told = framed(b"") if stream.lacked_memory() else b""
        try:
            write(sink, told + framed(data))
        except OSError:
            stream.kill()
            break
    words = stream.last_words()
    stream.close()
    return f"{words} ({why[0]})" if why else words
