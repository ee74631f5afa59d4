"""Connections of unix sockets, carried over the attach stream. Both ends of it are made by this.

Where launcher and sandbox share no directory, who connects to a socket at one end is connected to
the socket that it leads to at the other. Of each connection at most WINDOW bytes are on their way,
until the far end's socket has taken them: one that nobody reads waits alone, and holds up no other.

The far end may be hostile: it can open MOST connections, each to what ``dial`` knows, and whatever
breaks the rules is a ValueError of :meth:`Tunnel.heard`.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from typing import Any, Callable, Dict, List, Tuple

from . import protocol

CHUNK = 1 << 16
WINDOW = 256 << 10
MOST = 256
"""Connections at a time; further ones wait to be accepted, and of the far end are closed."""
BACKLOG = 1024
"""Connections that may wait to be accepted; the system may allow fewer."""
DIAL_SECONDS = 10.0
"""For something to listen where a connection leads: a kernel that starts, say."""
LOOK_SECONDS = 0.004
"""Between two looks whether it does."""
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Connection:
    """This end of one that is carried."""

    def __init__(self, number: int, sock: Any) -> None:
        self.number = number
        self.sock = sock  # None while it is dialled
        self.pending = bytearray()  # what the far end has sent, for the socket
        self.taken = 0  # bytes that the socket took, and that the far end was not told of
        self.room = WINDOW  # bytes that the far end takes now
        self.ended = False  # the socket says no more, and the far end knows
        self.far_ended = False
        self.done = False  # the far end says no more, and the socket knows

    @property
    def wants(self) -> int:
        """The events of its socket that something can be done at."""
        reads = READ if self.room and not self.ended else 0
        return reads | (WRITE if self.pending else 0)


def listening(path: str, mode: int) -> Any:
    """A new unix socket at ``path`` that is listened on; OSError."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(path)
        os.chmod(path, mode)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class Tunnel:
    """One end of all connections. One thread has it; its descriptor can be waited for."""

    def __init__(
        self, send: Callable[..., None], dial: Callable[[str], str], *, launcher: bool
    ) -> None:
        """``send``: as that of the attach stream. ``dial`` has the path of the socket that a name
        leads to, or raises OSError. ``launcher``: which end this is."""
        self.send = send
        self.dial = dial
        self.selector = selectors.DefaultSelector()
        self.connections: Dict[int, Connection] = {}
        self.dialled: List[Tuple[float, Connection, str]] = []  # until when, which, and the path
        self.listeners: Dict[Any, str] = {}
        self.number = 0 if launcher else 1  # the ends count in twos, so that none takes another's
        self.own = self.number
        self.open = True

    def fileno(self) -> int:
        """Readable when :meth:`turn` has something to do, unless something is dialled."""
        return self.selector.fileno()

    def listen(self, listener: Any, name: str) -> None:
        """Have connections to a listening socket lead to the far end's ``name``."""
        listener.setblocking(False)
        self.listeners[listener] = name
        if self.open:
            self.watch(listener, self._accept)

    def watch(self, descriptor: Any, ready: Callable[[Any], None]) -> None:
        """Have ``ready(descriptor)`` called whenever it can be read."""
        self.selector.register(descriptor, READ, ready)

    def close_listener(self, listener: Any) -> None:
        del self.listeners[listener]
        if self.open:
            self.selector.unregister(listener)
        listener.close()

    def due(self) -> float:
        """Seconds until :meth:`turn` has something to do though nothing happens."""
        return LOOK_SECONDS if self.dialled else float("inf")

    def turn(self, timeout: Any) -> None:
        """Carry what can be carried, after ``timeout`` seconds at most; None waits for it."""
        if self.dialled and timeout != 0:
            timeout = LOOK_SECONDS
        for key, events in self.selector.select(timeout):
            if not isinstance(key.data, Connection):
                key.data(key.fileobj)
            elif key.data.number in self.connections:  # or it has just ended
                self._move(key.data, events)
        self._dial_again()
        self._set_open(len(self.connections) < MOST)

    def close(self) -> None:
        for connection in list(self.connections.values()):
            self._drop(connection)
        for listener in list(self.listeners):
            self.close_listener(listener)
        self.selector.close()

    def forget(self) -> None:
        """In a fork, whose descriptors are others: close none that has the number of one here."""
        for sock in [*self.listeners, *(each.sock for each in self.connections.values())]:
            if sock is not None:
                sock.detach()
        try:
            self.selector.close()
        except OSError:
            pass  # it is closed already

    # -------- this end

    def _accept(self, listener: Any) -> None:
        try:
            sock = listener.accept()[0]
        except OSError:
            return  # it has ended by itself
        self.number += 2
        connection = self.connections[self.number] = Connection(self.number, sock)
        self.send(protocol.CONNECT, connection=self.number, name=self.listeners[listener])
        self._begin(connection, sock)

    def _set_open(self, is_open: bool) -> None:
        if is_open == self.open:
            return
        self.open = is_open
        for listener in self.listeners:
            if is_open:
                self.watch(listener, self._accept)
            else:
                self.selector.unregister(listener)

    def _begin(self, connection: Connection, sock: Any) -> None:
        sock.setblocking(False)
        connection.sock = sock
        self.selector.register(sock, READ, connection)
        self._move(connection, WRITE)

    def _move(self, connection: Connection, events: int) -> None:
        try:
            if events & READ and connection.wants & READ:
                self._read(connection)
            if connection.pending:
                self._write(connection)
            if connection.far_ended and not connection.pending and not connection.done:
                connection.done = True
                connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(connection, tell=True)
            return
        if connection.ended and connection.done:
            self._drop(connection)
        else:
            self._watch(connection)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(min(CHUNK, connection.room))
        except BlockingIOError:
            return
        connection.room -= len(data)
        if data:
            self.send(protocol.CARRY, data, connection=connection.number)
        else:
            connection.ended = True
            self.send(protocol.NO_MORE, connection=connection.number)

    def _write(self, connection: Connection) -> None:
        try:
            count = connection.sock.send(connection.pending)
        except BlockingIOError:
            return
        del connection.pending[:count]
        connection.taken += count
        if connection.taken >= WINDOW // 4 or not connection.pending:
            taken, connection.taken = connection.taken, 0
            self.send(protocol.TAKEN, connection=connection.number, count=taken)

    def _watch(self, connection: Connection) -> None:
        wanted = connection.wants
        watched = self.selector.get_map().get(connection.sock)
        if watched is None:
            if wanted:
                self.selector.register(connection.sock, wanted, connection)
        elif not wanted:
            self.selector.unregister(connection.sock)
        elif wanted != watched.events:
            self.selector.modify(connection.sock, wanted, connection)

    def _drop(self, connection: Connection, tell: bool = False) -> None:
        del self.connections[connection.number]
        if connection.sock is not None:
            if connection.sock in self.selector.get_map():
                self.selector.unregister(connection.sock)
            connection.sock.close()
        if tell:
            self.send(protocol.BROKEN, connection=connection.number)

    # -------- what a connection of the far end's leads to

    def _dial_again(self) -> None:
        dialled, self.dialled = self.dialled, []
        for until, connection, path in dialled:
            if connection.number not in self.connections:
                continue
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            try:
                sock.connect(path)
            except OSError:  # nobody listens yet, or too many wait there
                sock.close()
                if time.monotonic() < until:
                    self.dialled.append((until, connection, path))
                else:
                    self._drop(connection, tell=True)
            else:
                self._begin(connection, sock)

    # -------- what the far end says

    def heard(self, kind: str, connection: int, **fields: Any) -> None:
        """One of its messages; ValueError or TypeError for one that no end of ours sends."""
        if type(connection) is not int:
            raise ValueError("a connection without a number")
        HANDLERS[kind](self, connection, **fields)

    def _connect(self, number: int, name: str) -> None:
        if number % 2 == self.own or number in self.connections:
            raise ValueError("a connection that is there already")
        connection = Connection(number, None)
        try:
            if len(self.connections) >= MOST:
                raise OSError("too many")
            path = self.dial(name)
        except OSError:
            self.send(protocol.BROKEN, connection=number)
            return
        self.connections[number] = connection
        self.dialled.append((time.monotonic() + DIAL_SECONDS, connection, path))
        self._dial_again()

    def _carry(self, number: int, body: bytes) -> None:
        connection = self.connections.get(number)
        if connection is None:
            return  # it had ended here when this was sent
        if connection.far_ended or not body:
            raise ValueError("bytes behind the last")
        if len(connection.pending) + connection.taken + len(body) > WINDOW:
            raise ValueError("more bytes than there is room for")
        connection.pending += body
        self._move_if_begun(connection)

    def _taken(self, number: int, count: int) -> None:
        connection = self.connections.get(number)
        if connection is None:
            return
        if type(count) is not int or not 0 < count <= WINDOW - connection.room:
            raise ValueError("bytes taken that were not sent")
        connection.room += count
        self._move_if_begun(connection)

    def _no_more(self, number: int) -> None:
        connection = self.connections.get(number)
        if connection is not None:
            connection.far_ended = True
            self._move_if_begun(connection)

    def _broken(self, number: int) -> None:
        """What came of it before still reaches the socket."""
        connection = self.connections.get(number)
        if connection is None:
            return
        connection.far_ended = connection.ended = True
        if connection.sock is None:
            self._drop(connection)
        else:
            self._move(connection, WRITE)

    def _move_if_begun(self, connection: Connection) -> None:
        if connection.sock is not None:
            self._move(connection, WRITE)


HANDLERS: Dict[str, Callable[..., None]] = {
    protocol.CONNECT: Tunnel._connect,
    protocol.CARRY: Tunnel._carry,
    protocol.TAKEN: Tunnel._taken,
    protocol.NO_MORE: Tunnel._no_more,
    protocol.BROKEN: Tunnel._broken,
}
"""What is done with each message."""


def of_guest(send: Callable[..., None], proxy_socket: str) -> Tunnel:
    """The guest's end: the launcher may have it connect to any socket inside. Who connects to
    ``proxy_socket``, if there is to be one, is connected to the launcher's proxy."""
    made = Tunnel(send, lambda path: path, launcher=False)
    if proxy_socket:
        made.listen(listening(proxy_socket, 0o666), protocol.PROXY)
    return made
