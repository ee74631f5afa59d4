"""A Slurm of the tests' own: slurmctld and two slurmd of Debian's in a network namespace."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.launchers_elsewhere import in_network_of

ADDRESS = "11.0.8.1"

CONF = f"""\
ClusterName=moat
SlurmctldHost=localhost({ADDRESS})
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=PLACE/munge.sock
SlurmctldPort=16817
StateSaveLocation=PLACE/state
SlurmdSpoolDir=PLACE/spool-%n
SlurmctldPidFile=PLACE/slurmctld.pid
SlurmdPidFile=PLACE/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
SwitchType=switch/none
NodeName=n1 NodeHostname=localhost NodeAddr={ADDRESS} Port=16818 CPUs=1 RealMemory=2000
NodeName=n2 NodeHostname=localhost NodeAddr={ADDRESS} Port=16819 CPUs=1 RealMemory=2000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""

# Slurm takes a machine whose only address is 127.0.0.1 for one without any.
BEGIN = f"""\
ip link set lo up
ip addr add {ADDRESS}/24 dev lo
exec sleep infinity
"""

STARTED_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Cluster:
    directory: Path
    pid: int

    @property
    def nearby(self) -> list[str]:
        """Words in front of a launcher's, or of Slurm's commands."""
        own = {
            "SLURM_CONF": f"{self.directory}/slurm.conf",
            "HOME": f"{self.directory}/home",
            "XDG_RUNTIME_DIR": f"{self.directory}/home",
            "XDG_DATA_HOME": f"{self.directory}/home/data",
            "XDG_CACHE_HOME": f"{self.directory}/home/cache",
            "JUPYTER_DATA_DIR": f"{self.directory}/home/jupyter",
        }
        return in_network_of(self.pid, own)

    def slurm(self, *words: str) -> str:
        done = subprocess.run(
            [*self.nearby, *words], capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    @property
    def jobs(self) -> list[str]:
        """``ID NAME STATE`` of each."""
        return self.slurm("squeue", "--noheader", "--format=%i %j %T").splitlines()

    @property
    def copies(self) -> list[str]:
        kept = self.directory / "home/data/moat-nb/elsewhere"
        return [path.name for path in kept.iterdir()] if kept.is_dir() else []


@contextlib.contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """Root only."""
    for name in ("state", "home"):
        (directory / name).mkdir(parents=True)
    (directory / "slurm.conf").write_text(CONF.replace("PLACE", str(directory)))
    (directory / "key").write_bytes(os.urandom(128))
    (directory / "key").chmod(0o600)
    alone = ["setpriv", "--pdeathsig", "SIGKILL"]
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((directory / "log").open("wb"))

        def start(words: list[str]) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [*alone, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        holder = start(["unshare", "--net", "sh", "-euc", BEGIN])
        made = Cluster(directory=directory, pid=holder.pid)
        own = {"key-file": "key", "socket": "munge.sock", "pid-file": "munge.pid"}
        own |= {"seed-file": "seed", "log-file": "munge.log"}
        files = [f"--{name}={directory}/{file}" for name, file in own.items()]
        _until(lambda: ADDRESS in _in(made, "ip", "addr"))
        start([*made.nearby, "munged", "--foreground", "--force", *files])
        _until((directory / "munge.sock").exists)
        conf = f"{directory}/slurm.conf"
        start([*made.nearby, "slurmctld", "-D", "-f", conf])
        for node in ("n1", "n2"):
            start([*made.nearby, "slurmd", "-D", "-N", node, "-f", conf])
        _until(lambda: "n[1-2] idle" in _in(made, "sinfo", "--noheader", "--format=%N %t"))
        yield made


def _in(made: Cluster, *words: str) -> str:
    done = subprocess.run([*made.nearby, *words], capture_output=True, text=True, check=False)
    return done.stdout


def _until(done: object) -> None:
    give_up = time.monotonic() + STARTED_SECONDS
    while not done():  # type: ignore[operator]
        assert time.monotonic() < give_up
        time.sleep(0.1)
