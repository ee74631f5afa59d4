"""The ports of a running sandbox: who listens here, and to which socket of the guest's it leads."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from moat_nb.errors import StartError
from moat_nb.guest.settings import served_socket
from moat_nb.host.ports.options import Door
from moat_nb.host.ports.process import PortsProcess
from moat_nb.host.run_directory import RunDir
from moat_nb.planning.ports import port_host, port_variables

__all__ = ["OpenPorts"]

BACKLOG = 128
"""Connections that may wait for the process to begin; the system may allow fewer."""


@dataclass(kw_only=True)
class OpenPorts:
    """They are held from :meth:`open` on, served from :meth:`serve` on, and end with
    :meth:`close`."""

    doors: tuple[Door, ...] = ()
    _listeners: list[socket.socket] = field(default_factory=list)
    _process: PortsProcess | None = None

    @classmethod
    def open(cls, ports: Sequence[tuple[str, int]], project: str, sandbox: str) -> OpenPorts:
        """A free port of 127.0.0.1 for each; ``project`` is its name, ``sandbox`` the start's id.
        StartError."""
        made = cls()
        try:
            for name, inside in ports:
                listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
                made._listeners.append(listener)
                host, number = port_host(name, project, sandbox), listener.getsockname()[1]
                made.doors += (Door(name=name, host=host, port=number, inside=inside),)
        except OSError as error:
            made.close()
            raise StartError(f"ports: no port of 127.0.0.1 can be had: {error.strerror}") from error
        return made

    @property
    def urls(self) -> tuple[tuple[str, str], ...]:
        return tuple((door.name, door.url) for door in self.doors)

    @property
    def env(self) -> Mapping[str, str]:
        return port_variables(self.doors)

    def notices(self) -> tuple[str, ...]:
        """What a start says of them, when they are known."""
        return tuple(
            f"port {door.name}: {door.url} leads to {door.inside} inside "
            f"(programs find it at http://127.0.0.1:{door.port})"
            for door in self.doors
        )

    def serve(self, run_dir: RunDir) -> None:
        """Once the guest listens, and before anything else runs in the sandbox. StartError."""
        if not self.doors:
            return
        served: list[tuple[Door, socket.socket, int]] = []
        try:
            for door, listener in zip(self.doors, self._listeners, strict=True):
                path = served_socket(str(run_dir.sockets), door.inside)
                served.append((door, listener, _pinned(path)))
            self._process = PortsProcess(served)
        except OSError as error:
            for _, _, guest in served:
                os.close(guest)
            raise StartError(f"ports: the guest's socket: {error.strerror}") from error

    def close(self) -> None:
        """Of a second call nothing comes."""
        if self._process is not None:
            self._process.close()
        for listener in self._listeners:
            listener.close()


def _pinned(path: str) -> int:
    """A descriptor of the socket that is at ``path`` now. The sandbox can write there: a link is
    not followed, and what comes there later is never connected to."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "it is no socket")
    return descriptor
