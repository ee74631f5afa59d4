"""A kernel that knows TCP alone: its ports, and the sockets that lead there."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from moat_nb.guest.settings import ServedPort
from moat_nb.guest.tcp import Carriers, on_loopback
from tests.unit.guest.test_port_forward import directory, everything

__all__ = ["directory"]

CLIENTS = {
    "transport": "ipc",
    "ip": "/run/s/7",
    "key": "k",
    **{"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5},
}


def test_each_channel_has_a_free_port_and_the_rest_stays() -> None:
    kernel = on_loopback(CLIENTS)
    there = kernel.connection
    assert (there["transport"], there["ip"], there["key"]) == ("tcp", "127.0.0.1", "k")
    assert len({port for port, _ in kernel.served}) == 5
    assert kernel.served[3] == ServedPort(there["control_port"], "/run/s/7-4")
    assert CLIENTS["transport"] == "ipc"


def test_the_sockets_are_there_when_the_kernel_listens_and_not_before(directory: Path) -> None:
    kernel = on_loopback({**CLIENTS, "ip": str(directory / "1")})
    carriers = Carriers()
    with contextlib.ExitStack() as stack:
        carriers.start("1", kernel.served)
        pid = carriers.pids["1"]
        stack.callback(os.waitpid, pid, 0)
        stack.callback(carriers.end, "1")
        *first, last = kernel.served
        for port, _ in first:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        assert not Path(last.path).exists()
        server = stack.enter_context(socket.create_server(("127.0.0.1", last.port)))
        server.accept()[0].close()  # its look, whether anybody is there
        while not Path(last.path).exists():
            os.sched_yield()
        with socket.socket(socket.AF_UNIX) as client:
            while client.connect_ex(last.path) != 0:  # bound, and about to listen
                os.sched_yield()
            client.sendall(b"a question")
            client.shutdown(socket.SHUT_WR)
            with server.accept()[0] as carried:
                carried.sendall(b"heard " + everything(carried))
            assert everything(client) == b"heard a question"


def test_one_that_has_been_reaped_is_not_ended_once_more() -> None:
    carriers = Carriers()
    carriers.pids = {"1": 1 << 30}
    carriers.reaped(1 << 30)
    carriers.end("1")
    carriers.end("none")
