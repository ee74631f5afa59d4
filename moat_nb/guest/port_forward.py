"""The ways out of and into a sandbox that has no network: ports on 127.0.0.1 whose connections are
carried to a unix socket of the launcher's, and unix sockets whose connections are carried to ports.

The guest only listens. At the first connection it forks the forwarder, so that a start pays for no
more than a few sockets, and no kernel is forked from a process that carries anything. What the
bytes mean is the launcher's proxy's to know; only for a port of the host's, which programs speak
their own protocol to, the forwarder asks the proxy for it by CONNECT.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from typing import Any, Dict, List, NamedTuple, NoReturn, Optional, Sequence, Union

from .process import RESET_SIGNALS, raise_oom_score, set_dumpable
from .settings import PortForward, ServedPort

CHUNK = 1 << 16
BACKLOG = 1024
"""Connections that may wait for the forwarder to begin; the system may allow fewer."""
SPARED = 64
"""Descriptors that are not spent on connections, of which each takes two."""
LOOK_SECONDS = 0.01
"""Between two looks at ports that something is about to listen at."""
HEAD = 16 << 10
"""Bytes, the most that the proxy's answer to CONNECT may take."""
READ, WRITE = select.EPOLLIN, select.EPOLLOUT
HERE = ("127.0.0.1", "::1")
"""Where a server of the sandbox may listen; some take the second for `localhost`."""
PATIENCE = 50
"""Milliseconds for the sandbox's own loopback to say whether anybody listens; it does at once."""


class Listener(NamedTuple):
    """A port, or a socket, that is listened on here."""

    descriptor: int
    forward: Union[PortForward, ServedPort]


def listen(forward: Union[PortForward, ServedPort]) -> Listener:
    """OSError when the port, or the socket, cannot be had."""
    import _socket  # the rest of `socket` takes longer to import than all of this

    inward = isinstance(forward, ServedPort)
    sock = _socket.socket(_socket.AF_UNIX if inward else _socket.AF_INET, _socket.SOCK_STREAM)
    try:
        if inward:
            sock.bind(forward.path)
        else:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", forward.port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    # A number, as kernels are forked from here: an object's end would close what has its number.
    return Listener(sock.detach(), forward)


def turn_away(listener: Listener) -> None:
    """End a connection that nobody can carry."""
    import socket

    with socket.socket(fileno=os.dup(listener.descriptor)) as listening:
        try:
            listening.accept()[0].close()
        except OSError:
            pass  # it has ended by itself


class Listeners:
    """All that the guest listens for. The forwarder begins with the first connection, and again
    should it die."""

    def __init__(self, forwards: Sequence[Union[PortForward, ServedPort]]) -> None:
        """A sandbox without one that was promised ends."""
        self.found: Dict[int, Listener] = {}
        self.forwarder: Optional[int] = None  # its pid
        for forward in forwards:
            try:
                listener = listen(forward)
            except OSError as error:
                sys.exit("port %d of the sandbox: %s" % (forward.port, error.strerror))
            self.found[listener.descriptor] = listener

    def watch(self, poll: Any) -> None:
        self.poll = poll
        self.forwarder = None
        for descriptor in self.found:
            poll.register(descriptor, select.POLLIN)

    def connected(self, descriptor: int) -> None:
        if self.forwarder is not None:
            return  # two ports had a connection in one moment
        try:
            self.forwarder = start(list(self.found.values()))
        except OSError:
            turn_away(self.found[descriptor])
            return
        for each in self.found:
            self.poll.unregister(each)

    def reaped(self, pid: int) -> None:
        if pid == self.forwarder:
            self.watch(self.poll)


def start(listeners: List[Listener], awaited: Sequence[ServedPort] = ()) -> int:
    """Fork the forwarder; its pid. OSError when there is no room for one more process.

    ``awaited`` are ports whose sockets it makes itself, when something listens at all of them.
    """
    pid = os.fork()
    if pid == 0:
        _become_forwarder(listeners, awaited)
    return pid


def _become_forwarder(listeners: List[Listener], awaited: Sequence[ServedPort]) -> NoReturn:
    """Cut every tie to the guest but its stderr, and carry until the sandbox ends."""
    try:
        signal.set_wakeup_fd(-1)
        for signum in RESET_SIGNALS:
            signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        os.setsid()
        kept = sorted(listener.descriptor for listener in listeners)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        for low, high in zip([3, *(number + 1 for number in kept)], [*kept, limit]):
            os.closerange(low, high)
        set_dumpable(True)  # or its score would not be its own to raise
        raise_oom_score()
        while not all(map(_is_listening, awaited)):
            time.sleep(LOOK_SECONDS)
        Forwarder([*listeners, *map(listen, awaited)], limit).run()
    finally:
        os._exit(1)


def _is_listening(served: ServedPort) -> bool:
    import socket

    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", served.port)) == 0


class Half:
    """One direction of a connection."""

    def __init__(self, source: Any, sink: Any) -> None:
        self.source = source
        self.sink = sink
        self.pending = memoryview(b"")
        self.head: Optional[bytes] = None  # of the proxy's answer, while it is awaited
        self.ended = False  # the source will say no more
        self.done = False  # and the sink knows

    def concerned(self, descriptor: int, event: int) -> bool:
        """Whether ``event`` lets it carry something; an error at either end does, too."""
        if self.source.fileno() == descriptor:
            return bool(event & ~WRITE)
        return bool(event & ~READ)

    def move(self) -> None:
        """Carry what can be carried now; OSError when the connection is of no more use."""
        if not self.pending and not self.ended:
            self._take()
        if self.pending:
            try:
                self.pending = self.pending[self.sink.send(self.pending) :]
            except BlockingIOError:
                return
        if self.ended and not self.pending and not self.done:
            self.done = True
            self.sink.shutdown(1)  # SHUT_WR

    def _take(self) -> None:
        try:
            data = self.source.recv(CHUNK)
        except BlockingIOError:
            return
        self.ended = not data
        self.pending = memoryview(data if self.head is None else self._behind_head(data))

    def _behind_head(self, data: bytes) -> bytes:
        """What stands behind the head of the proxy's answer, once that is whole."""
        assert self.head is not None
        self.head += data
        head, end, rest = self.head.partition(b"\r\n\r\n")
        if not end:
            if self.ended or len(head) > HEAD:
                raise ConnectionError
            return b""
        if head.split(b" ", 2)[1:2] != [b"200"]:
            raise ConnectionRefusedError
        self.head = None
        return rest


class Connection:
    """Who connected here, and what that is carried to."""

    def __init__(self, caller: Any, callee: Any, target: str) -> None:
        self.there, self.back = Half(caller, callee), Half(callee, caller)
        self.interest: Dict[Any, int] = {caller: 0, callee: 0}
        if target:
            self.there.pending = memoryview(
                b"CONNECT %(to)s HTTP/1.1\r\nHost: %(to)s\r\n\r\n" % {b"to": target.encode()}
            )
            self.back.head = b""

    def wants(self, sock: Any) -> int:
        """The events of ``sock`` that something can be done at."""
        events = 0
        for half in (self.there, self.back):
            if half.source is sock and not half.pending and not half.ended:
                events |= READ
            if half.sink is sock and half.pending:
                events |= WRITE
        return events


class Forwarder:
    """Serves until it is killed. One thread, as many connections as it may have descriptors."""

    def __init__(self, listeners: List[Listener], limit: int) -> None:
        import socket

        self.socket = socket
        self.limit = max(1, (limit - SPARED) // 2)
        self.poll = select.epoll()
        self.forwards = {listener.descriptor: listener.forward for listener in listeners}
        self.listening = {number: socket.socket(fileno=number) for number in self.forwards}
        self.connections: Dict[int, Connection] = {}  # by both descriptors
        self.open = False
        self.set_open(True)

    def set_open(self, is_open: bool) -> None:
        """Whether further connections are taken."""
        if is_open != self.open:
            self.open = is_open
            for descriptor in self.forwards:
                if is_open:
                    self.poll.register(descriptor, READ)
                else:
                    self.poll.unregister(descriptor)

    def run(self) -> None:
        while True:
            for descriptor, event in self.poll.poll():
                if descriptor in self.forwards:
                    self.accept(descriptor)
                elif descriptor in self.connections:  # or its other side has just ended it
                    self.handle(self.connections[descriptor], descriptor, event)
            self.set_open(len(self.connections) // 2 < self.limit)

    def accept(self, descriptor: int) -> None:
        forward = self.forwards[descriptor]
        try:
            caller = self.listening[descriptor].accept()[0]
        except OSError:
            return  # it has ended by itself
        callee = self.dial(forward)
        if callee is None:
            caller.close()
            return
        caller.setblocking(False)
        target = forward.target if isinstance(forward, PortForward) else ""
        connection = Connection(caller, callee, target)
        for sock in connection.interest:
            if sock.family != self.socket.AF_UNIX:
                sock.setsockopt(self.socket.IPPROTO_TCP, self.socket.TCP_NODELAY, 1)
            self.connections[sock.fileno()] = connection
        self.watch(connection)

    def dial(self, forward: Union[PortForward, ServedPort]) -> Any:
        """A socket that is connected, or about to be; None when nobody is there."""
        if isinstance(forward, PortForward):
            return self.connected(self.socket.AF_UNIX, forward.path)
        for address in HERE:
            family = self.socket.AF_INET6 if ":" in address else self.socket.AF_INET
            sock = self.connected(family, (address, forward.port))
            if sock is not None:
                return sock
        return None

    def connected(self, family: Any, address: Any) -> Any:
        sock = None
        try:
            sock = self.socket.socket(family)
            sock.setblocking(False)
            try:
                sock.connect(address)
            except BlockingIOError:
                if family == self.socket.AF_UNIX:
                    raise  # its backlog is full
                self.await_verdict(sock)
        except OSError:
            if sock is not None:
                sock.close()
            return None
        return sock

    def await_verdict(self, sock: Any) -> None:
        """OSError when nobody listens there; one that listens may take its time."""
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLOUT)
        poll.poll(PATIENCE)
        error = sock.getsockopt(self.socket.SOL_SOCKET, self.socket.SO_ERROR)
        if error:
            raise OSError(error, "connect")

    def handle(self, connection: Connection, descriptor: int, event: int) -> None:
        try:
            for half in (connection.there, connection.back):
                if half.concerned(descriptor, event):
                    half.move()
        except OSError:
            self.close(connection)
            return
        if connection.there.done and connection.back.done:
            self.close(connection)
        else:
            self.watch(connection)

    def watch(self, connection: Connection) -> None:
        """Have the poll tell of what something can be done at, and of nothing else: it would not
        cease to tell of a socket whose other end is gone."""
        for sock, before in connection.interest.items():
            wanted = connection.wants(sock)
            if wanted and not before:
                self.poll.register(sock.fileno(), wanted)
            elif before and not wanted:
                self.poll.unregister(sock.fileno())
            elif wanted != before:
                self.poll.modify(sock.fileno(), wanted)
            connection.interest[sock] = wanted

    def close(self, connection: Connection) -> None:
        for sock, interest in connection.interest.items():
            del self.connections[sock.fileno()]
            if interest:
                self.poll.unregister(sock.fileno())
            sock.close()
