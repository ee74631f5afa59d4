"""bounds.py: the options of the sockets that managers and their clients really make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio
from jupyter_client.manager import KernelManager

from moat_nb.jupyter.bounds import MAX_MESSAGE, UNREAD
from moat_nb.jupyter.kernel_manager import Kernel
from moat_nb.jupyter.server.kernels import ProjectKernel

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


class Plain(KernelManager):
    """The control."""


def limits(kind: type[KernelManager], directory: Path) -> set[tuple[int, int]]:
    """Of all sockets that such a manager makes, and a client that it makes."""
    ports: Any = {f"{channel}_port": number for number, channel in enumerate(CHANNELS, start=1)}
    context: Any = zmq.asyncio.Context() if kind is ProjectKernel else zmq.Context()
    manager = kind(context=context, transport="ipc", ip=str(directory / "k"), **ports)
    # Not Kernel's own way, which asks its sandbox.
    client = super(kind, manager).client()  # type: ignore[misc]
    found = set()
    for one in (manager, client):
        for channel in CHANNELS:
            stream = getattr(one, f"connect_{channel}")()
            socket = getattr(stream, "socket", stream)
            found.add((socket.getsockopt(zmq.MAXMSGSIZE), socket.getsockopt(zmq.RCVHWM)))
            stream.close(linger=0)
    for one in (manager, client):
        one.context.destroy(linger=0)
    return found


@pytest.mark.parametrize("kind", [Kernel, ProjectKernel])
def test_all_sockets_are_bounded(kind: type[KernelManager], tmp_path: Path) -> None:
    assert limits(kind, tmp_path) == {(MAX_MESSAGE, UNREAD)}
    assert (MAX_MESSAGE, UNREAD) not in limits(Plain, tmp_path)
