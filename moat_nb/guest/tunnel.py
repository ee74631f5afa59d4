"""Connections of unix sockets, carried over the attach stream as channels. Both ends are made here.

Where launcher and sandbox share no directory, who connects to a socket at one end is connected to
the socket that it leads to at the other. Each channel has a window, as those of ssh have: so many
bytes may be on their way that the other end's socket has not taken. A channel that nobody reads
stands still, and no other does.

The far end may be hostile. It can open so many channels, each to what ``path_of`` knows; what
breaks the rules is a ValueError of :meth:`Tunnel.hear`.
"""

from __future__ import annotations

import errno
import os
import resource
import selectors
import socket
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from . import protocol

CHUNK = 1 << 16
WINDOW = 256 << 10
LAUNCHER, GUEST = 0, 1
"""Of the numbers of a launcher's channels, and of a guest's, what is left by 2."""
MOST = {LAUNCHER: 1024, GUEST: 256}
"""Channels that each may open; five lead to a kernel. Who connects then waits."""
SPARED = 64
"""Descriptors that are not spent on channels."""
BACKLOG = 1024
"""Connections that may wait to be accepted; the system may allow fewer."""
CONNECT_SECONDS = 10.0
"""For something to listen where a channel leads: a kernel that starts, say."""
SOON = (0.004, 0.1)
"""Seconds between two looks whether it does: in the first second, and later."""
REST_SECONDS = 1.0
"""Without further connections, when there was no descriptor for one."""
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

forgotten: List[Any] = []
"""What a fork must not close: see :meth:`Tunnel.forget`."""


class Channel:
    """This end of one."""

    def __init__(self, number: int, sock: Any = None) -> None:
        self.number = number
        self.sock = sock  # None until it is connected
        self.pending = bytearray()  # what the far end has sent, for the socket
        self.taken = 0  # bytes that the socket took, and that the far end was not told of
        self.window = WINDOW  # bytes that the far end takes now
        self.read_closed = False  # nothing more is read of the socket, and the far end knows
        self.far_eof = False  # the far end sends no more
        self.write_closed = False  # the socket was told so, or takes no more

    @property
    def events(self) -> int:
        """Those of its socket that something can be done at."""
        reads = READ if self.window and not self.read_closed else 0
        return reads | (WRITE if self.pending else 0)


class Connecting(NamedTuple):
    """A channel of the far end's, where nothing listens yet."""

    channel: Channel
    path: str
    since: float


class Tunnel:
    """One end of all channels. One thread has it; others may wait for its descriptor."""

    def __init__(
        self,
        send: Callable[..., None],
        path_of: Callable[[str], str],
        *,
        end: int,
        patience: float = CONNECT_SECONDS,
    ) -> None:
        """``send``: as that of the attach stream. ``path_of`` has the socket that a name leads to,
        or raises OSError. ``end``: LAUNCHER or GUEST. ``patience``: seconds for something to listen
        there."""
        self.send = send
        self.path_of = path_of
        self.patience = patience
        self.selector = selectors.DefaultSelector()
        self.channels: Dict[int, Channel] = {}
        self.connecting: List[Connecting] = []
        self.listeners: Dict[Any, str] = {}
        self.accepting = True
        self.resting_until = 0.0
        self.end = end
        self.last_number = {LAUNCHER: 0, GUEST: -1}  # of each end's channels: they only grow
        self.opened = {LAUNCHER: 0, GUEST: 0}  # how many of each end's there are
        self.room = max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARED)

    def fileno(self) -> int:
        """Readable when :meth:`run_once` has something to do, but for what is :meth:`due`."""
        return self.selector.fileno()

    def due(self) -> float:
        """Seconds until :meth:`run_once` has something to do though nothing happens."""
        now = time.monotonic()
        soon = self.resting_until - now if now < self.resting_until else float("inf")
        if self.connecting:
            young = now - self.connecting[-1].since < 1
            soon = min(soon, SOON[0] if young else SOON[1])
        return soon

    def listen(self, listener: Any, name: str) -> None:
        """Have connections to a listening socket lead to the far end's ``name``."""
        listener.setblocking(False)
        self.listeners[listener] = name
        if self.accepting:
            self.watch(listener, self._accept)

    def watch(self, descriptor: Any, ready: Callable[[Any], None]) -> None:
        """Have ``ready(descriptor)`` called whenever it can be read."""
        self.selector.register(descriptor, READ, ready)

    def close_listener(self, listener: Any) -> None:
        """Of a second call nothing comes."""
        if self.listeners.pop(listener, None) is None:
            return
        if self.accepting:
            self.selector.unregister(listener)
        listener.close()

    def run_once(self, timeout: Optional[float]) -> None:
        """Carry what can be carried, after ``timeout`` seconds at most; None waits for it."""
        due = self.due()
        if due < (float("inf") if timeout is None else timeout):
            timeout = due
        for key, events in self.selector.select(timeout):
            if not isinstance(key.data, Channel):
                key.data(key.fileobj)
            elif self.has(key.data):  # or it has just ended
                self._move(key.data, events)
        waiting, self.connecting = self.connecting, []
        for each in waiting:
            self._connect(each)
        self._accept_or_not()

    def close(self) -> None:
        for channel in list(self.channels.values()):
            self._drop(channel)
        for listener in list(self.listeners):
            self.close_listener(listener)
        self.selector.close()

    def forget(self) -> None:
        """In a fork, which has closed all that was open here: close nothing that has its number."""
        for sock in [*self.listeners, *(each.sock for each in self.channels.values())]:
            if sock is not None:
                sock.detach()
        forgotten.append(self.selector)

    # -------- this end's own channels

    def _accept(self, listener: Any) -> None:
        if self.is_full(self.end):
            return
        try:
            sock = listener.accept()[0]
        except OSError as error:
            if error.errno in NO_DESCRIPTOR:
                self.resting_until = time.monotonic() + REST_SECONDS
            return  # or it has ended by itself
        channel = self._add(Channel(self.last_number[self.end] + 2, sock))
        self.send(protocol.OPEN, channel=channel.number, name=self.listeners[listener])
        self._begin(channel)

    def _accept_or_not(self) -> None:
        rested = time.monotonic() >= self.resting_until
        accepting = rested and not self.is_full(self.end)
        if accepting == self.accepting:
            return
        self.accepting = accepting
        for listener in self.listeners:
            if accepting:
                self.watch(listener, self._accept)
            else:
                self.selector.unregister(listener)

    # -------- what a channel of the far end's leads to

    def _connect(self, asked: Connecting) -> None:
        channel = asked.channel
        if not self.has(channel):
            return
        sock = None
        try:
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            sock.connect(asked.path)
        except OSError as error:
            if sock is not None:
                sock.close()
            nobody = error.errno in (errno.ENOENT, errno.ECONNREFUSED)
            patience = self.patience if nobody else CONNECT_SECONDS  # for what is full for a moment
            if time.monotonic() - asked.since < patience:
                self.connecting.append(asked)
            else:
                self._drop(channel, tell=True)
            return
        channel.sock = sock
        self._begin(channel)

    # -------- any channel

    def has(self, channel: Channel) -> bool:
        return self.channels.get(channel.number) is channel

    def is_full(self, end: int) -> bool:
        """Whether this end may open no further one: of few descriptors the guest has a quarter."""
        room = self.room if end == LAUNCHER else self.room // 4
        return self.opened[end] >= MOST[end] or self.opened[end] >= room

    def _add(self, channel: Channel) -> Channel:
        end = channel.number % 2
        self.channels[channel.number] = channel
        self.last_number[end] = channel.number
        self.opened[end] += 1
        return channel

    def _begin(self, channel: Channel) -> None:
        channel.sock.setblocking(False)
        self.selector.register(channel.sock, READ, channel)
        self._move(channel, 0)

    def _move(self, channel: Channel, events: int) -> None:
        if events & READ and channel.events & READ:
            self._read(channel)
        if channel.pending:
            self._write(channel)
        if channel.far_eof and not channel.pending and not channel.write_closed:
            channel.write_closed = True
            try:
                channel.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # whoever had it is gone
        if channel.read_closed and channel.write_closed:
            self._drop(channel, tell=not channel.far_eof)
        else:
            self._watch(channel)

    def _read(self, channel: Channel) -> None:
        try:
            data = channel.sock.recv(min(CHUNK, channel.window))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        channel.window -= len(data)
        if data:
            self.send(protocol.DATA, data, channel=channel.number)
        else:
            channel.read_closed = True
            self.send(protocol.EOF, channel=channel.number)

    def _write(self, channel: Channel) -> None:
        try:
            count = channel.sock.send(channel.pending)
        except BlockingIOError:
            return
        except OSError:  # it takes no more, and may still have said something
            channel.write_closed = True
            count = len(channel.pending)
        del channel.pending[:count]
        channel.taken += count
        if channel.taken >= WINDOW // 4 or not channel.pending:
            self._tell_taken(channel)

    def _tell_taken(self, channel: Channel) -> None:
        taken, channel.taken = channel.taken, 0
        self.send(protocol.WINDOW, channel=channel.number, count=taken)

    def _watch(self, channel: Channel) -> None:
        wanted = channel.events
        watched = self.selector.get_map().get(channel.sock)
        if watched is None:
            if wanted:
                self.selector.register(channel.sock, wanted, channel)
        elif not wanted:
            self.selector.unregister(channel.sock)
        elif wanted != watched.events:
            self.selector.modify(channel.sock, wanted, channel)

    def _drop(self, channel: Channel, tell: bool = False) -> None:
        del self.channels[channel.number]
        self.opened[channel.number % 2] -= 1
        if channel.sock is not None:
            if channel.sock in self.selector.get_map():
                self.selector.unregister(channel.sock)
            channel.sock.close()
        if tell:
            self.send(protocol.RESET, channel=channel.number)

    # -------- what the far end says

    def hear(self, kind: str, channel: int, **fields: Any) -> None:
        """One of its messages; ValueError or TypeError for one that no end of ours sends."""
        if type(channel) is not int:
            raise ValueError("a channel without a number")
        if kind == protocol.OPEN:
            self._open(channel, **fields)
            return
        found = self.channels.get(channel)
        if found is not None:  # or it had ended here when this was sent
            HANDLERS[kind](self, found, **fields)
            if found.sock is not None and self.has(found):
                self._move(found, 0)

    def _open(self, number: int, name: str) -> None:
        far = number % 2
        if far == self.end or number <= self.last_number[far]:
            raise ValueError("a number that is not the next")
        try:
            if self.is_full(far):
                raise OSError("too many")
            path = self.path_of(name)
        except OSError:
            self.send(protocol.RESET, channel=number)
            return
        channel = self._add(Channel(number))
        self._connect(Connecting(channel, path, time.monotonic()))

    def _data(self, channel: Channel, body: bytes) -> None:
        if channel.far_eof or not body:
            raise ValueError("bytes behind the last")
        if len(channel.pending) + channel.taken + len(body) > WINDOW:
            raise ValueError("more bytes than the window has")
        if channel.write_closed:
            channel.taken += len(body)
            self._tell_taken(channel)
        else:
            channel.pending += body

    def _window(self, channel: Channel, count: int) -> None:
        if type(count) is not int or not 0 < count <= WINDOW - channel.window:
            raise ValueError("bytes taken that were not sent")
        channel.window += count

    def _eof(self, channel: Channel) -> None:
        channel.far_eof = True

    def _reset(self, channel: Channel) -> None:
        """What came before it still reaches the socket."""
        channel.far_eof = channel.read_closed = True
        if channel.sock is None:
            self._drop(channel)


HANDLERS: Dict[str, Callable[..., None]] = {
    protocol.DATA: Tunnel._data,
    protocol.WINDOW: Tunnel._window,
    protocol.EOF: Tunnel._eof,
    protocol.RESET: Tunnel._reset,
}
"""What is done with a message about a channel that is there."""


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


def of_guest(send: Callable[..., None], proxy_socket: str) -> Tunnel:
    """The guest's end: the launcher may have it connect to any socket inside. Who connects to
    ``proxy_socket``, if there is to be one, is connected to the launcher's proxy."""
    made = Tunnel(send, lambda path: path, end=GUEST)
    if proxy_socket:
        made.listen(listening(proxy_socket, 0o666), protocol.PROXY)
    return made
