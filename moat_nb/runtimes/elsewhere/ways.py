"""How our program is started on another machine: by ssh, or as a job of Slurm's."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator, Mapping

from moat_nb.config.model import OtherMachine, SlurmJob
from moat_nb.text.terminal import one_line

__all__ = ["QUEUING", "argv_of", "hint_of", "waiting"]

SSH = (
    *("ssh", "-T", "-a", "-x", "-e", "none", "-o", "ClearAllForwardings=yes"),
    *("-o", "BatchMode=yes", "-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=2", "-o", "IPQoS=none"),
)
"""It asks nothing, ends half a minute after the other machine, and takes nothing along that the
user's settings would have every ssh take: no agent, no display, no ports."""

EXPORTED = "HOME,USER,LOGNAME,PATH,LANG,XDG_DATA_HOME,XDG_CACHE_HOME"
"""Of the launcher's environment, which may hold secrets, no more goes to the node."""
QUEUING = "srun"
"""The program that may wait until there is a node."""
SRUN = (
    *(QUEUING, "--unbuffered", "--ntasks=1", "--nodes=1", "--job-name=moat-nb", "--chdir=/"),
    f"--export={EXPORTED}",
)
SQUEUE_SECONDS = 10.0
_JOB = re.compile(rb"job (\d+) queued and waiting")


def argv_of(on: OtherMachine, command: str) -> tuple[str, ...]:
    """What runs ``command``, a line for sh, there."""
    if on.slurm is not None:
        return (*SRUN, *_options(on.slurm), "sh", "-c", command)
    *by, host = _address(on)
    return (*SSH, *by, "--", host, command)


def _address(on: OtherMachine) -> tuple[str, ...]:
    """Words of ssh's, the host last."""
    host, _, port = on.ssh.partition(":")
    return ("-p", port, host) if port else (host,)


def hint_of(on: OtherMachine) -> str:
    """How a user finds out why there is no answer."""
    by = "srun" if on.slurm is not None else " ".join(("ssh", *_address(on)))
    return f"`{by} {on.python} -V` should answer without a question"


def waiting(said: bytes, environ: Mapping[str, str]) -> str:
    """Why a job of srun's, which has ``said`` so much, does not run yet, in Slurm's word; empty
    where it does not wait."""
    job = _JOB.search(said)
    if job is None:
        return ""
    reason = ""
    number = job[1].decode()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        reason = subprocess.run(
            ["squeue", "--noheader", "--job", number, "--format=%r"],
            env=dict(environ),
            capture_output=True,
            text=True,
            check=True,
            timeout=SQUEUE_SECONDS,
        ).stdout
    return one_line(f"job {number} waits in Slurm's queue: {reason.strip() or 'no reason given'}")


def _options(job: SlurmJob) -> Iterator[str]:
    options = {
        "partition": job.partition,
        "time": job.time,
        "mem": f"{job.mem_mb}M" if job.mem_mb is not None else None,
        "cpus-per-task": job.cpus,
        "gres": job.gres,
    }
    yield from (f"--{name}={value}" for name, value in options.items() if value is not None)
