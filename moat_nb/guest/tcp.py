"""Kernels that know TCP alone: they listen on the sandbox's loopback, and the unix sockets that
their clients know lead there. The bytes are carried, and not read."""

from __future__ import annotations

import os
import signal
from typing import Any, Dict, List, NamedTuple

from . import port_forward
from .settings import ServedPort

CHANNELS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


class Kernel(NamedTuple):
    """One that is to be started."""

    connection: Dict[str, Any]
    """As its connection file has it."""
    served: List[ServedPort]


def on_loopback(connection: Dict[str, Any]) -> Kernel:
    """``connection`` is the client's, whose ``ip`` is the prefix of the sockets."""
    import _socket

    found = [_socket.socket(_socket.AF_INET, _socket.SOCK_STREAM) for _ in CHANNELS]
    for sock in found:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in found]
    for sock in found:
        sock.close()
    served = [
        ServedPort(port, "%s-%d" % (connection["ip"], connection[name]))
        for name, port in zip(CHANNELS, ports)
    ]
    there = dict(zip(CHANNELS, ports), transport="tcp", ip="127.0.0.1")
    return Kernel(dict(connection, **there), served)


class Carriers:
    """The forwarders of such kernels, by their ids."""

    def __init__(self) -> None:
        self.pids: Dict[str, int] = {}

    def start(self, id: str, served: List[ServedPort]) -> None:
        """It makes the sockets once the kernel listens, so that no client comes too early; OSError
        when there is no room for one more process."""
        self.pids[id] = port_forward.start([], served)

    def end(self, id: str) -> None:
        pid = self.pids.pop(id, None)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def reaped(self, pid: int) -> None:
        """It is gone, whatever ended it, and another process may get its number."""
        self.pids = {id: carrier for id, carrier in self.pids.items() if carrier != pid}
