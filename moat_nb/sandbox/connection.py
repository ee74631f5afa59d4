"""How a client reaches a kernel in a sandbox: over unix sockets, which need no network."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # its import takes longer than a start of `moat-nb run` takes otherwise
    from jupyter_client.connect import KernelConnectionInfo

__all__ = ["IPYKERNEL", "IPYKERNEL_ARGV", "PORTS", "json_ready", "new_connection"]

IPYKERNEL = ("python3", "-m", "ipykernel_launcher")
"""How kernels that can be forked are named: the guest runs these in its own interpreter."""

IPYKERNEL_ARGV = (*IPYKERNEL, "-f", "{connection_file}")

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


def new_connection(prefix: str) -> KernelConnectionInfo:
    """Connection info over sockets ``PREFIX-1`` to ``PREFIX-5``, with a new key (bytes)."""
    return {
        "transport": "ipc",
        "ip": prefix,
        "shell_port": 1,
        "iopub_port": 2,
        "stdin_port": 3,
        "control_port": 4,
        "hb_port": 5,
        "key": secrets.token_hex(32).encode(),  # type: ignore[typeddict-item] # bytes, it says str
        "signature_scheme": "hmac-sha256",
    }


def json_ready(connection: Mapping[str, Any]) -> dict[str, Any]:
    """The same with its key as text, as a connection file has it."""
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in connection.items()}
