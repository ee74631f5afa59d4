"""Whether the sandbox's own network leads out, where nothing but the network itself can close it.

A pod always has an address. A cluster that enforces a NetworkPolicy lets nothing out of it; one
that does not says nothing of it. So what every pod can reach is tried: the API, and name servers.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from typing import Dict, List, MutableMapping, Tuple

TRIES = (0.0, 0.2, 0.4)
"""Seconds, when something is sent, so that one packet that is lost decides nothing."""
AFTER = 0.2
"""For an answer to the last, which takes a millisecond inside a cluster."""

CLUSTER = "KUBERNETES_"
API = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
RESOLVER = "/etc/resolv.conf"
MOST_SERVERS = 3
"""Name servers that a resolver asks."""

QUERY = b"\x4d\x6f\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"
"""A question of DNS: who serves the root."""

Target = Tuple[str, str, int]
"""``tcp`` or ``udp``, address and port."""


def take_cluster(environ: MutableMapping[str, str]) -> List[Target]:
    """What every pod can reach; no kernel gets the variables that tell of it."""
    address, port = (environ.get(name, "") for name in API)
    for name in [name for name in environ if name.startswith(CLUSTER)]:
        del environ[name]
    found = [("tcp", address, int(port))] if address and port.isdigit() else []
    return found + [(kind, each, 53) for each in _servers() for kind in ("tcp", "udp")]


def _servers() -> List[str]:
    try:
        with open(RESOLVER) as file:
            lines = [line.split() for line in file]
    except OSError:
        return []
    named = [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver"]
    return [address.partition("%")[0] for address in named[:MOST_SERVERS]]


class Attempt:
    """To reach ``targets``, begun when it is made."""

    def __init__(self, targets: List[Target]) -> None:
        self.targets = targets
        self.begun = time.monotonic()
        self.sent, self.last = 0, 0.0
        self.sockets: Dict[int, Tuple[socket.socket, Target]] = {}
        self.poll = select.poll()
        self.reached: Dict[str, None] = {}
        self._send()

    def answered(self) -> List[str]:
        """What answered, once everything had the time to; empty where nothing can be reached.

        However late it is called, all is sent, and listened to for a while behind the last.
        """
        listened = not self.targets
        while not listened:
            due = self.begun + TRIES[self.sent] if self.sent < len(TRIES) else self.last + AFTER
            # At least once, also when that has passed: what came meanwhile waits here.
            for descriptor, _ in self.poll.poll(max(0.0, due - time.monotonic()) * 1000):
                self._hear(descriptor)
            late = time.monotonic() >= due
            if late and self.sent < len(TRIES):
                self._send()
            elif late:
                listened = True
        for each, _ in self.sockets.values():
            each.close()
        return list(self.reached)

    def found(self) -> Tuple[List[str], List[str]]:
        """What was tried, and what of that answered."""
        return [named(target) for target in self.targets], self.answered()

    def _send(self) -> None:
        self.sent += 1
        self.last = time.monotonic()
        for target in self.targets:
            kind, address, port = target
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            how = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
            try:
                made = socket.socket(family, how)
            except OSError:  # there is no such network here
                continue
            made.setblocking(False)
            self.sockets[made.fileno()] = made, target
            error = made.connect_ex((address, port))
            if kind == "udp" and error == 0:
                error = _sent(made)
            self._note(target, error == errno.ECONNREFUSED)
            self.poll.register(made, select.POLLIN if kind == "udp" else select.POLLOUT)

    def _hear(self, descriptor: int) -> None:
        made, target = self.sockets[descriptor]
        self.poll.unregister(descriptor)
        error = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        # Who refuses was reached, too.
        self._note(target, error in (0, errno.ECONNREFUSED))

    def _note(self, target: Target, answered: bool) -> None:
        if answered:
            self.reached[named(target)] = None


def _sent(made: socket.socket) -> int:
    try:
        made.send(QUERY)
    except OSError as error:
        return error.errno or 0
    return 0


def named(target: Target) -> str:
    return "%s %s:%d" % target
