"""How much of what a kernel sends waits in this process, where no relay stands between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

if TYPE_CHECKING:
    from jupyter_client.connect import ConnectionFileMixin as _Manager
else:
    _Manager = object

__all__ = ["MAX_MESSAGE", "BoundedSockets"]

MAX_MESSAGE = 64 << 20
"""Bytes. A longer message never arrives: ZeroMQ ends the connection that it came over for good."""

UNREAD = 4
"""How many messages wait for each socket; further ones wait in the sandbox."""


def bound(context: zmq.Context[Any]) -> None:
    """A default for the sockets to come; on one that is connected it would not take effect."""
    context.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
    context.setsockopt(zmq.RCVHWM, UNREAD)


class BoundedSockets(_Manager):
    """A kernel manager, before the class that it is one of: its own sockets are bounded, and those
    of the clients that it makes."""

    def _create_connected_socket(self, channel: str, identity: bytes | None = None) -> Any:
        bound(self.context)
        return super()._create_connected_socket(channel, identity)

    def client(self, **options: Any) -> Any:
        client = super().client(**options)  # type: ignore[misc]
        bound(client.context)
        return client
