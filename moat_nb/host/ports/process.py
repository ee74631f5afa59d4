"""The launcher's side of a sandbox's ports: a process of its own carries what comes there.

It reads what any program of this machine sends, and what the sandbox answers.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from moat_nb.host import isolated_python
from moat_nb.host.on_demand import OnDemandProcess
from moat_nb.host.ports.options import Door, Listening, PortsOptions

__all__ = ["PortsProcess"]


class PortsProcess(OnDemandProcess):
    """One sandbox's ports, served from the constructor to :meth:`close`, which closes all that it
    was given: for each door a socket that listens, and the descriptor of the guest's."""

    def __init__(self, doors: Sequence[tuple[Door, socket.socket, int]]) -> None:
        listening = (
            Listening(door=door, listen_fd=listener.fileno(), socket_fd=guest)
            for door, listener, guest in doors
        )
        super().__init__(
            "the process of the sandbox's ports",
            "moat-ports",
            isolated_python.command("moat_nb.host.ports.__main__", ()),
            PortsOptions(listening=tuple(listening)).line(),
            [listener for _, listener, _ in doors],
            others=[guest for _, _, guest in doors],
        )
