"""The guest's loop: the launcher's messages, and what happens in the sandbox."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

from . import port_forward, protocol, skeleton, spaces, venv
from .attach_stream import AttachStream
from .kernel import may_fork, preload
from .outside import Attempt, take_cluster
from .process import (
    CHUNK,
    Ends,
    Process,
    SpawnRequest,
    describe,
    note,
    start,
    unlink_quietly,
    write_connection_file,
)
from .proof import prove, sources
from .settings import ServedPort, Settings
from .spare import Spare
from .tcp import Carriers, on_loopback
from .usage import Usage, sandbox_memory
from .watch import Watch

if TYPE_CHECKING:  # what it imports, a guest without one does without
    from .tunnel import Tunnel

BEAT_SECONDS = 5.0
"""From one sign of life to the next: the launcher ends a sandbox whose guest is silent for long."""


class Guest:
    def __init__(self, settings: Settings, attach_stream: AttachStream) -> None:
        self.settings = settings
        self.attach_stream = attach_stream
        self.send = attach_stream.send
        self.targets = take_cluster(os.environ) if settings.grace else []
        self.environ = dict(os.environ)  # as it was: imports add to it
        if settings.venv:
            self.environ.update(venv.make(settings.venv, os.environ))
        self.installed = venv.Installed(settings.venv)
        self.processes: Dict[str, Process] = {}
        self.poll = select.poll()
        self.watch = Watch()
        self.ends = Ends(settings.spaces)
        self.import_error: Optional[str] = None
        self.usage, self.next_beat = Usage(), 0.0
        self.spare: Optional[Spare] = None
        self.spare_wish: Optional[Tuple[str, float]] = None  # its sockets' prefix, and when
        self.carriers = Carriers()
        self.tunnel: Optional[Tunnel] = None  # once the attach stream carries a connection
        self.files = settings.files  # still to come

    def run(self) -> int:
        """Serve until the attach stream ends; returns the exit code."""
        self.listeners = port_forward.Listeners(self.settings.forwards)
        mounts = self.settings.mounts
        proofs = prove(mounts)
        if any(proof["problem"] for proof in proofs):
            self.send(protocol.REFUSED, mounts=proofs)
            return 3
        if self.settings.proxy_socket:
            self.begin_tunnel(self.settings.proxy_socket)
        self.watch.begin([mount.path for mount in mounts if mount.kind != "volume"])
        if self.settings.skeleton is not None:
            ways = {mount.path for mount in mounts if mount.kind == "way"}
            skeleton.fill(*self.settings.skeleton, ways)
        # Answers come while the kernels' modules are imported.
        attempt = Attempt(self.targets) if self.settings.closed else None
        version = list(sys.version_info[:3])
        self.send(protocol.READY, mounts=proofs, sources=sources(mounts), python=version)
        self.watch_fds()
        while self.files:
            select.select([self.attach_stream.source], [], [])
            if not self.read_launcher():
                return 0
        self.import_error = preload(self.settings.preload, self.settings.in_no_hurry)
        if attempt is not None:
            tried, reached = attempt.found()
            self.send(protocol.OUTSIDE, tried=tried, reached=reached)
        while True:
            self.beat()
            for descriptor, event in self.poll.poll(self.patience() * 1000):
                if not self.handle(descriptor, event):
                    return 0
            if self.tunnel is not None:
                self.tunnel.run_once(0)
            if self.watch.due() == 0:
                self.watch_mounts()
                self.usage.sample(self.kernels())
            if self.installed.due() == 0:
                self.installed.tell_changes(self.send)
            if self.spare_wish is not None and time.monotonic() >= self.spare_wish[1]:
                self.make_spare(self.spare_wish[0])

    def beat(self) -> None:
        """Tell the launcher that the loop goes round, each few seconds."""
        if time.monotonic() >= self.next_beat:
            self.next_beat = time.monotonic() + BEAT_SECONDS
            self.send(protocol.ALIVE)

    def patience(self) -> float:
        """Seconds until there is something to do, should nothing happen."""
        due = self.spare_wish[1] if self.spare_wish is not None else float("inf")
        soon = min(self.watch.due(), self.installed.due())
        if self.tunnel is not None:
            soon = min(soon, self.tunnel.due())
        return max(0.0, min(soon, min(due, self.next_beat) - time.monotonic()))

    def watch_fds(self) -> None:
        self.poll.register(self.attach_stream.source, select.POLLIN)
        self.wakeup, wakeup_write = os.pipe()
        for descriptor in (self.wakeup, wakeup_write):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        self.poll.register(self.wakeup, select.POLLIN)
        self.mountinfo = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self.poll.register(self.mountinfo, select.POLLPRI)
        self.listeners.watch(self.poll)

    def handle(self, descriptor: int, event: int) -> bool:
        if descriptor == self.attach_stream.source:
            return self.read_launcher()
        if descriptor == self.wakeup:
            os.read(self.wakeup, CHUNK)
            self.reap()
        elif descriptor == self.mountinfo:
            self.watch_mounts()
        elif self.spare is not None and descriptor == self.spare.channel:
            self.spare_event()
        elif descriptor in self.listeners.found:
            self.listeners.connected(descriptor)
        else:
            self.child_event(descriptor, event)
        return True

    def read_launcher(self) -> bool:
        messages = self.attach_stream.messages()
        if messages is None:
            return False
        for message in messages:
            kind = message.pop("type")
            if kind in protocol.OF_TUNNEL:
                self.begin_tunnel().hear(kind, **message)
            else:
                HANDLERS[kind](self, **message)
        return True

    def begin_tunnel(self, proxy_socket: str = "") -> Tunnel:
        if self.tunnel is None:
            from .tunnel import of_guest

            self.tunnel = of_guest(self.send, proxy_socket)
            self.poll.register(self.tunnel.fileno(), select.POLLIN)
        return self.tunnel

    # -------- messages

    def on_spawn(
        self,
        id: str,
        argv: List[str],
        env: Dict[str, str],
        cwd: str,
        fork: bool = False,
        connection: Optional[Dict[str, Any]] = None,
        stdin: bool = False,
        terminal: Optional[List[int]] = None,
        tcp: bool = False,
    ) -> None:
        env = dict(self.environ, **env)
        fork = fork and may_fork(env, self.environ)
        if fork and self.import_error:
            error = "the kernel's modules do not import: " + self.import_error
            self.send(protocol.FAILED, id=id, error=error, missing=False)
            return
        request = SpawnRequest(id, argv, env, cwd, fork, stdin, terminal=terminal)
        try:
            served: List[ServedPort] = []
            if connection is not None and tcp:
                connection, served = on_loopback(connection)
            if connection is not None:
                name = write_connection_file(id, connection, env)
                argv = [part.replace("{connection_file}", name) for part in argv]
                request = request._replace(argv=argv, connection_file=name)
            if served:
                self.carriers.start(id, served)
            process = self.take_spare(request, connection) or start(request)
        except OSError as error:
            unlink_quietly(request.connection_file)
            self.carriers.end(id)
            missing = error.filename == "exec" and error.errno == errno.ENOENT
            self.send(protocol.FAILED, id=id, error=describe(error, request), missing=missing)
            return
        self.processes[id] = process
        for descriptor in process.pipes:
            self.poll.register(descriptor, select.POLLIN)
        self.send(protocol.SPAWNED, id=id, pid=process.pid)

    def on_spare(self, prefix: str, after: float) -> None:
        self.spare_wish = (prefix, time.monotonic() + after) if prefix else None
        if not prefix and self.spare is not None:
            self.drop_spare()

    def make_spare(self, prefix: str) -> None:
        self.spare_wish = None
        if self.spare is not None:
            if self.spare.ready:
                self.send(protocol.SPARE)  # the last kernel was not one that it could be
            return
        if self.import_error or not may_fork(self.environ, self.environ):
            return
        try:
            self.spare = Spare(prefix, self.environ)
        except OSError:
            return  # no room for it; kernels are forked when they are asked for
        self.poll.register(self.spare.channel, select.POLLIN)

    def spare_event(self) -> None:
        assert self.spare is not None
        if self.spare.heard():
            self.send(protocol.SPARE)
        else:
            self.drop_spare()

    def take_spare(
        self, request: SpawnRequest, connection: Optional[Dict[str, Any]]
    ) -> Optional[Process]:
        """The spare as the kernel that was ordered, if there is one that fits."""
        if self.spare is None or connection is None or not self.spare.fits(request, connection):
            return None
        process = self.spare.hand_over(request, connection)
        self.drop_spare()  # either it is a kernel now, or it has ended
        return process

    def drop_spare(self) -> None:
        assert self.spare is not None
        self.poll.unregister(self.spare.channel)
        self.spare.close()
        self.spare = None

    def on_note(self, text: str) -> None:
        """Show a line in the cells that run: ipykernel watches what its process has as stderr."""
        for process in self.processes.values():
            if process.connection_file is not None:
                note(process.pid, text)

    def on_input(self, id: str, body: Optional[bytes] = None) -> None:
        process = self.processes.get(id)
        if process is None or process.stdin is None:
            return
        if body is None:
            process.ending = True
        else:
            process.pending += body
        os.set_blocking(process.stdin, False)
        self.poll.register(process.stdin, select.POLLOUT)

    def on_resize(self, id: str, rows: int, columns: int) -> None:
        process = self.processes.get(id)
        if process is not None:
            process.resize(rows, columns)

    def on_signal(self, id: str, signum: int) -> None:
        process = self.processes.get(id)
        if process is not None:
            with contextlib.suppress(OSError):  # it has just ended, or this is no signal
                os.killpg(process.pid, signum)

    def on_usage(self, id: str) -> None:
        self.watch_mounts()
        self.send(protocol.USAGE, id=id, mounts=self.watch.use())

    def on_prove(self, id: str) -> None:
        mounts = self.settings.mounts
        self.send(protocol.PROVED, id=id, mounts=prove(mounts), sources=sources(mounts))

    def on_vitals(self, id: str) -> None:
        self.usage.sample(self.kernels())
        self.send(protocol.VITALS, id=id, memory=sandbox_memory(), kernels=self.usage.report())

    def on_spaces(self, id: str) -> None:
        self.send(protocol.SPACES, id=id, spaces=spaces.look(self.settings.spaces))

    def on_file(self, path: str, body: bytes) -> None:
        skeleton.put(path, body)
        self.files -= 1

    def kernels(self) -> Dict[str, int]:
        """The pids by id."""
        return {id: each.pid for id, each in self.processes.items() if each.connection_file}

    # -------- events

    def child_event(self, descriptor: int, event: int) -> None:
        for process in self.processes.values():
            if descriptor in process.pipes:
                self.read_child(process, descriptor)
                return
            if descriptor == process.stdin:
                self.write_child(process, descriptor, event)
                return

    def read_child(self, process: Process, descriptor: int, limit: int = CHUNK) -> int:
        """Pass on what the process wrote, at most ``limit`` bytes; how many there were."""
        try:
            data = os.read(descriptor, min(limit, CHUNK))
        except BlockingIOError:
            return 0  # the event was of a descriptor that had this number a moment ago
        except OSError:
            data = b""  # of a terminal that all who had it open have left
        if data:
            self.send(protocol.OUTPUT, data, id=process.id, stream=process.pipes[descriptor])
        else:
            self.close_pipe(process, descriptor)
        return len(data)

    def close_pipe(self, process: Process, descriptor: int) -> None:
        self.poll.unregister(descriptor)
        os.close(descriptor)
        del process.pipes[descriptor]

    def write_child(self, process: Process, descriptor: int, event: int) -> None:
        try:
            if process.pending and not event & (select.POLLERR | select.POLLHUP):
                process.pending = process.pending[os.write(descriptor, process.pending) :]
                if process.pending:
                    return
                self.send(protocol.INPUT_TAKEN, id=process.id)
            else:
                process.ending = process.ending or bool(event & select.POLLERR)
        except BlockingIOError:
            return  # of a terminal whose program does not read
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            process.ending = True
        self.poll.unregister(descriptor)
        if process.ending:
            os.close(descriptor)
            process.stdin = None

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.listeners.reaped(pid)
            self.carriers.reaped(pid)
            for process in list(self.processes.values()):
                if process.pid == pid:
                    self.drain(process)
                    self.finish(process, status)

    def drain(self, process: Process) -> None:
        # A daemon that the process left behind may hold its pipes for ever, and fill them as
        # fast as they are read; so what is in them now is read, and no more.
        for descriptor in list(process.pipes):
            left = process.waiting_bytes(descriptor)
            while left > 0 and descriptor in process.pipes:
                left -= self.read_child(process, descriptor, left) or left
            if descriptor in process.pipes:
                self.close_pipe(process, descriptor)

    def finish(self, process: Process, status: int) -> None:
        if process.stdin is not None:
            with contextlib.suppress(KeyError):
                self.poll.unregister(process.stdin)
            os.close(process.stdin)
        unlink_quietly(process.connection_file)
        self.carriers.end(process.id)
        del self.processes[process.id]
        self.send(protocol.EXITED, id=process.id, **self.ends.told(status))

    def watch_mounts(self) -> None:
        for path in self.watch.look():
            self.send(protocol.MOUNT_LOST, path=path)


HANDLERS: Dict[str, Callable[..., None]] = {
    kind: getattr(Guest, "on_" + kind) for kind in protocol.TO_GUEST - protocol.OF_STREAM
}
"""What is done with each message; its fields are the arguments."""
