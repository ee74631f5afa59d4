"""What the process of a sandbox's ports is told: one line of JSON on its stdin."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Door", "Listening", "PortsOptions"]


@dataclass(frozen=True, kw_only=True)
class Door:
    """One of ``ports:``, as it stands open on this machine."""

    name: str
    """As moat.yaml has it."""
    host: str
    """The one name by which browsers are let in: ``web.project-3f9c01ab.localhost``."""
    port: int
    """On this machine's 127.0.0.1."""
    inside: int
    """The port in the sandbox that it leads to."""

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Descriptors that the process inherits."""

    door: Door
    listen_fd: int
    """A TCP socket that listens."""
    socket_fd: int
    """The guest's unix socket, opened as a path alone: no other can come into its place."""


@dataclass(frozen=True, kw_only=True)
class PortsOptions:
    listening: tuple[Listening, ...]
    connections: int = 128
    """At once, of all doors together; a browser makes six to one host."""
    head_seconds: float = 30.0
    """For the first request's head to arrive; only tests change it."""

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> PortsOptions:
        """Trusts its author, the launcher; KeyError or TypeError for fields that do not fit."""
        fields: dict[str, Any] = json.loads(line)
        listening = (
            Listening(**{**each, "door": Door(**each["door"])}) for each in fields.pop("listening")
        )
        return cls(listening=tuple(listening), **fields)
