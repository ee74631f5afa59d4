"""A kernel made ahead of need: it listens already when one is asked for, and is handed over.

The guest and the spare speak over a socket. The spare says ``ready``; the guest sends the order, a
JSON object in one line; the spare becomes what was ordered and says ``done``. A spare that cannot
ends, and the guest forks a kernel as if there had been none.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from typing import Any, Dict, List, Optional, Tuple

from . import venv
from .kernel import STREAM, become_python, lose_nothing, set_arguments
from .process import (
    CHANNEL,
    CHUNK,
    Process,
    SpawnRequest,
    fork,
    open_pipes,
    unlink_quietly,
    write_connection_file,
)

LAUNCHER = ["-m", "ipykernel_launcher"]
PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
READ_EARLY = ("HOME", "IPYTHON", "JUPYTER", "XDG_", "DEBUGPY", "PYDEVD")
"""Variables that ipykernel reads while it is made, when the kernel's own are not known yet."""
ANSWER_SECONDS = 2.0

READY, DONE = b"ready\n", b"done\n"


class Spare:
    """The guest's side. Its pipes are read only once it is somebody's kernel."""

    def __init__(self, prefix: str, env: Dict[str, str]) -> None:
        """Fork it; OSError when there is no room for one more process."""
        import socket

        self.prefix = prefix
        self.env = env
        self.ready = False
        connection: Dict[str, Any] = {port: number for number, port in enumerate(PORTS, start=1)}
        connection.update(transport="ipc", ip=prefix, key=os.urandom(32).hex())
        self.connection_file = write_connection_file("spare", connection, env)
        request = SpawnRequest(
            "", ["python3", *LAUNCHER, "-f", self.connection_file], env, "/", fork=True
        )
        self.ends: Dict[str, int] = {}
        try:
            open_pipes(self.ends, stdin=False)
            ours, childs = socket.socketpair()
            self.ends["channel"], self.ends["child's channel"] = ours.detach(), childs.detach()
            os.set_blocking(self.channel, False)
            self.pid = fork(self.ends, request, spare=True)
        except OSError:
            self.close()
            raise

    @property
    def channel(self) -> int:
        return self.ends["channel"]

    def close(self) -> None:
        """Let go of it. What is still its own is removed: a kernel has taken the sockets over."""
        for descriptor in self.ends.values():
            os.close(descriptor)
        for name in (self.connection_file, *_sockets(self.prefix)):
            unlink_quietly(name)

    def heard(self) -> bool:
        """Take what it says before an order; whether it still can be one's kernel."""
        try:
            self.ready = os.read(self.channel, CHUNK) == READY
        except BlockingIOError:
            return True  # the event was of a descriptor that had this number a moment ago
        except OSError:
            self.ready = False  # it was killed
        return self.ready

    def fits(self, request: SpawnRequest, connection: Optional[Dict[str, Any]]) -> bool:
        """Whether it would be what a fork for this order is."""
        if not (self.ready and request.fork and connection is not None):
            return False
        usual = {port: number for number, port in enumerate(PORTS, start=1)}
        return (
            request.argv[1:] == [*LAUNCHER, "-f", request.connection_file]
            and connection.get("transport") == "ipc"
            and "curve_secretkey" not in connection
            and {port: connection.get(port) for port in PORTS} == usual
            and _read_early(request.env) == _read_early(self.env)
        )

    def hand_over(self, request: SpawnRequest, connection: Dict[str, Any]) -> Optional[Process]:
        """Make it the kernel that was ordered; None when it cannot be, and it has ended then."""
        words = request._replace(id="")._asdict()
        line = json.dumps(dict(words, connection=connection)).encode() + b"\n"
        if not self._ask(line):
            try:
                os.kill(self.pid, signal.SIGKILL)
            except OSError:
                pass
            return None
        pipes = {self.ends.pop("out"): 1, self.ends.pop("err"): 2}
        return Process(request.id, self.pid, pipes, None, request.connection_file)

    def _ask(self, line: bytes) -> bool:
        give_up = time.monotonic() + ANSWER_SECONDS
        try:
            while line:
                if not _wait(self.channel, select.POLLOUT, give_up):
                    return False
                line = line[os.write(self.channel, line) :]
            return _wait(self.channel, select.POLLIN, give_up) and (
                os.read(self.channel, CHUNK) == DONE
            )
        except OSError:
            return False


def _read_early(env: Dict[str, str]) -> Dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(READ_EARLY)}


def _sockets(prefix: str) -> List[str]:
    return ["%s-%d" % (prefix, number) for number in range(1, len(PORTS) + 1)]


def _wait(descriptor: int, event: int, give_up: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(max(0.0, give_up - time.monotonic()) * 1000))


# ---------------------------------------------------------------- the spare's side


def run_spare(argv: List[str]) -> None:
    """Be made, wait, and become the kernel that is ordered."""
    become_python(argv)
    from ipykernel.kernelapp import IPKernelApp

    lose_nothing(IPKernelApp)
    app: Any = IPKernelApp.instance(outstream_class=STREAM)
    before = dict(os.environ)
    app.init_code = lambda: None  # startup files are run when the kernel is somebody's
    app.initialize(sys.argv[1:])
    del app.init_code
    _warm(app.shell)
    added = {name: value for name, value in os.environ.items() if before.get(name) != value}
    read = _configuration(app)
    os.write(CHANNEL, READY)
    request = _order()
    if request is None or _configuration(app) != read or venv.shadows(request["env"]):
        os._exit(0)
    if any(request["env"].get(name) != before.get(name) for name in added):
        os._exit(0)  # which of the two ipykernel would have kept is its own to know
    _become(app, request, added)
    os.write(CHANNEL, DONE)
    os.close(CHANNEL)
    app.init_code()
    app.start()


def _warm(shell: Any) -> None:
    """Make what the first cell would make otherwise. It leaves no trace for the user."""
    shell.run_cell("1", silent=True)
    shell.display_formatter.format(1)
    assert shell.logger  # IPython makes it when the first cell runs that is not silent


def _order() -> Optional[Dict[str, Any]]:
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(CHANNEL, CHUNK)
        if not part:
            return None
        line += part
    request: Dict[str, Any] = json.loads(line)
    return request


def _configuration(app: Any) -> List[Tuple[str, int, int]]:
    """The files that it was configured by, as they are now: names, times and sizes."""
    found = []
    for directory in app.config_file_paths:
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if "_config." in entry.name:
                status = entry.stat()
                found.append((entry.path, status.st_mtime_ns, status.st_size))
    return found


def _become(app: Any, request: Dict[str, Any], added: Dict[str, str]) -> None:
    """What ``initialize`` would have made otherwise, had it known the order.

    ``added``: the variables that it set itself.
    """
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(dict(request["env"], **added))
    set_arguments(request["argv"])
    venv.enter(os.environ)
    connection = request["connection"]
    app.session.key = connection["key"].encode()
    app.session.signature_scheme = connection.get("signature_scheme", "hmac-sha256")
    for mine, wanted in zip(_sockets(app.ip), _sockets(connection["ip"])):
        os.rename(mine, wanted)
    app.ip = connection["ip"]
    app.connection_file = request["connection_file"]
    shell = app.shell
    shell.starting_dir = request["cwd"]
    history = shell.history_manager
    if history is not None:
        history.dir_hist[:] = (
            [type(history.dir_hist[0])(request["cwd"])] if history.dir_hist else []
        )
