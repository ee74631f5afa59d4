"""The launcher's side of the proxy, which serves a sandbox's socket.

The proxy parses a sandbox's bytes, so it is a process of its own. Most sandboxes make no request,
so it starts at the first connection.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from moat_nb.egress.options import ProxyOptions
from moat_nb.host import isolated_python
from moat_nb.host.on_demand import OnDemandProcess

__all__ = ["ProxyProcess", "command"]


class ProxyProcess(OnDemandProcess):
    """One sandbox's proxy, served from the constructor to :meth:`close`.

    ``on_event`` gets each refusal and failure of the proxy, from a thread of its own.
    """

    def __init__(
        self,
        listener: socket.socket,
        options: ProxyOptions,
        on_event: Callable[[dict[str, Any]], None],
    ) -> None:
        super().__init__(
            "the proxy of the sandbox's network",
            "moat-proxy",
            command(),
            options.line(),
            [listener],
            on_record=on_event,
        )


PACKAGES = ("h11", "aiohappyeyeballs", "cryptography", "_cffi_backend", "typing_extensions")
"""The proxy's imports beside the standard library and this package; the last two are
cryptography's. A missing one is not needed, or was refused before."""


def command() -> list[str]:
    """The proxy's argv."""
    return isolated_python.command("moat_nb.egress.proxy.__main__", PACKAGES)
