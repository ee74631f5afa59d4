"""A Docker Engine for the tests: the one that answers, else one of our own that ends with us."""

from __future__ import annotations

import grp
import os
import shutil
import subprocess
import time
from pathlib import Path

from moat_nb.runtimes.docker.engine import ask_facts, sockets

START_SECONDS = 60


class PrivateEngine:
    """A dockerd with a root directory, socket and containerd of its own, and no network at all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "docker.sock"
        self._log = directory / "dockerd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.directory.mkdir(mode=0o711)
        command = [
            # The engine must not outlive the test run, however that ends.
            *("setpriv", "--pdeathsig", "SIGTERM"),
            *("dockerd", "--host", f"unix://{self.socket}", "--group", docker_group()),
            *("--data-root", str(self.directory / "data")),
            *("--exec-root", str(self.directory / "exec")),
            *("--pidfile", str(self.directory / "pid")),
            *("--bridge=none", "--iptables=false", "--ip-masq=false"),
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            until_it_answers(self._process, str(self.socket), self._log)
        except RuntimeError:
            self.stop()
            raise

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
        # A container that was being removed as the engine stopped leaves its mounts behind.
        table = Path("/proc/self/mountinfo").read_text().splitlines()
        mounts = [line.split()[4] for line in table]
        for mount in sorted(mounts, reverse=True):
            if mount.startswith(f"{self.directory}/"):
                subprocess.run(["umount", "--lazy", mount], check=True)
        shutil.rmtree(self.directory)


def docker_group() -> str:
    try:
        return grp.getgrnam("docker").gr_name
    except KeyError:
        return "root"


def answers(path: str) -> bool:
    try:
        ask_facts(path)
    except (OSError, ValueError):
        return False
    return True


def until_it_answers(process: subprocess.Popen[bytes], path: str, log: Path) -> None:
    """Return once the engine does; RuntimeError with the end of its log if it will not."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        if answers(path):
            return
        time.sleep(0.1)
    words = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"the engine at {path} did not start:\n{words}")


def find_or_start(directory: Path) -> tuple[str, PrivateEngine | None]:
    """The socket of an engine, and the engine itself when it is ours to stop.

    Never None for want of an engine: a test run without one fails.
    """
    for path in sockets(os.environ):
        if answers(path):
            return path, None
    if os.getuid() != 0:
        raise RuntimeError(
            "no engine answers, and only root can start one: start Docker Engine and join its "
            "group, or run the tests as root"
        )
    if shutil.which("dockerd") is None:
        raise RuntimeError("dockerd is not installed; `make test` installs it")
    engine = PrivateEngine(directory)
    engine.start()
    return str(engine.socket), engine
