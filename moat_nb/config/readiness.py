"""A sidecar's readiness checks, of three kinds, as values.

``sidecars.py`` carries them out; here is only what they are, and how they are said to a person.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["TIMEOUT", "Command", "LogLine", "Port", "Ready"]

TIMEOUT = 60.0
"""Seconds from the container's start; a database that makes its first files takes a few."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """Something accepts a TCP connection at 127.0.0.1:``port``."""

    port: int
    timeout: float = TIMEOUT
    """Seconds, as of the other two."""

    def __str__(self) -> str:
        return f"something listens at 127.0.0.1:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Command:
    """``argv``, run in the sidecar, exits with 0."""

    argv: tuple[str, ...]
    timeout: float = TIMEOUT

    def __str__(self) -> str:
        return f"`{shlex.join(self.argv)}` exits with 0"


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """The sidecar prints a line that holds ``text``."""

    text: str
    timeout: float = TIMEOUT

    def __str__(self) -> str:
        return f"it prints {self.text!r}"


Ready: TypeAlias = Port | Command | LogLine
