"""A Docker Engine for the tests: the one that answers, else one of our own that ends with us."""

from __future__ import annotations

import contextlib
import grp
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from moat_nb.runtimes.docker.endpoint import endpoint_of
from moat_nb.runtimes.docker.engine import ask_facts, sockets

START_SECONDS = 120
STOP_SECONDS = 60


NAMESPACES = (
    *("setpriv", "--pdeathsig", "SIGKILL"),
    *("unshare", "--net", "--mount", "--propagation", "slave"),
    *("--pid", "--mount-proc", "--fork", "--kill-child"),
)
"""An engine's: none of the machine's bridges, rules and mounts is its own, and all that it mounts
and starts is gone with its first process. Of the machine's mounts it sees later ones too."""

_RUN = """\
set -eu
PATH="$PATH:/usr/sbin:/sbin"
ip link set lo up
[ -z "$ADDRESS" ] || ip addr add "$ADDRESS/32" dev lo
mount --bind "$RESOLV" "$(readlink -f /etc/resolv.conf)"
# The shell is the first process, and takes in what containers leave behind. An engine that was
# killed is started again, as a service is.
until dockerd "$@"; do
    [ $? = 137 ] || exit
done
"""

NAME_SERVER = "10.0.2.3"
"""Of slirp4netns, which asks the machine's own."""


class PrivateEngine:
    """A dockerd with a root directory, socket, containerd and namespaces of its own.

    Builds that need a network reach the outside through a program (slirp4netns), not through
    anything of the machine's. It does not outlive the thread that starts it.
    """

    def __init__(self, directory: Path, address: str = "", options: tuple[str, ...] = ()) -> None:
        """``address`` is its network namespace's own, beside 127.0.0.1; ``options`` dockerd's."""
        self.directory = directory
        self._address = address
        self._more_options = options
        self.socket = directory / "docker.sock"
        self._cgroup = f"moat-nb-tests-{secrets.token_hex(4)}"
        self._log = directory / "dockerd.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._network: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.directory.mkdir(mode=0o711)
        resolv = self.directory / "resolv.conf"
        resolv.write_text(f"nameserver {NAME_SERVER}\n")
        try:
            self._process = self._spawn(
                (*NAMESPACES, "sh", "-c", _RUN, "dockerd", *self._options()),
                env={**os.environ, "RESOLV": str(resolv), "ADDRESS": self._address},
            )
            until_it_answers(self._process, str(self.socket), self._log)
            self._network = self._spawn(
                (
                    *("setpriv", "--pdeathsig", "SIGKILL", "slirp4netns", "--configure"),
                    *("--mtu=65520", "--disable-host-loopback", str(self._process.pid), "tap0"),
                )
            )
        except BaseException:
            self.stop()
            raise

    def _options(self) -> tuple[str, ...]:
        return (
            *("--host", f"unix://{self.socket}", "--group", docker_group()),
            *("--data-root", str(self.directory / "data")),
            *("--exec-root", str(self.directory / "exec")),
            *("--pidfile", str(self.directory / "pid"), "--cgroup-parent", f"/{self._cgroup}"),
            *("--bridge=none", "--iptables=false", "--ip-masq=false"),
            *self._more_options,
        )

    @property
    def on_its_machine(self) -> tuple[str, ...]:
        """Words in front of a command that has the engine's network."""
        assert self._process is not None
        return ("nsenter", "--target", str(self._process.pid), "--net", "--")

    def _spawn(self, command: tuple[str, ...], **options: Any) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **options,
            )

    @property
    def pid(self) -> int | None:
        """Of dockerd, which is another after it was killed; None between the two."""
        assert self._process is not None
        (shell,) = _children(self._process.pid)
        for child in _children(shell):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text() == "dockerd\n":
                    return child
        return None

    def kill_daemon(self) -> None:
        """Kill dockerd, and return when the one that is started in its place answers."""
        killed = self.pid
        assert self._process is not None and killed is not None
        os.kill(killed, signal.SIGKILL)
        while self.pid in (killed, None):
            time.sleep(0.05)
        until_it_answers(self._process, str(self.socket), self._log)

    def kill(self) -> None:
        """End it and all of its containers at once; harmless when that has happened."""
        if self._network is not None:
            self._network.kill()
            self._network.wait()
        if self._process is not None:
            end_namespace(self._process)

    def stop(self) -> None:
        """End it, and remove all it has made."""
        self.kill()
        remove_cgroups(self._cgroup)
        shutil.rmtree(self.directory)


def end_namespace(process: subprocess.Popen[bytes]) -> None:
    """Kill the first process of what :data:`NAMESPACES` began, which ends after all others.

    An engine takes ten seconds to end by itself, and of a test's nothing is kept.
    """
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for child in _children(process.pid):
            os.kill(child, signal.SIGKILL)
    process.wait(STOP_SECONDS)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def remove_cgroups(*names: str) -> None:
    """Those of these names, with what is below, if no process is in them."""
    # Unlike Path.glob, os.walk passes over one that goes meanwhile.
    for cgroup, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
        if set(names) & set(Path(cgroup).parts):
            with contextlib.suppress(OSError):
                Path(cgroup).rmdir()


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
    for path in sockets(os.environ, endpoint_of(os.environ)):
        if answers(path):
            return path, None
    if os.getuid() != 0:
        raise RuntimeError(
            "no engine answers, and only root can start one: start Docker Engine and join its "
            "group, or run the tests as root"
        )
    for program in ("dockerd", "slirp4netns"):
        if shutil.which(program) is None:
            raise RuntimeError(f"{program} is not installed; `make test` installs it")
    engine = PrivateEngine(directory)
    engine.start()
    return str(engine.socket), engine
