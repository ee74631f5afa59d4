"""What a relay's process is told: one JSON object a line, over its stdin.

The first line is :class:`RelayOptions`; each further one is a command:

    {"connect": PREFIX, "key": KEY}
                             a kernel is at the sockets PREFIX-1 to PREFIX-5, or comes there; its
                             connection has a key of its own, which the sandbox knows
    {"ended": PREFIX, "why": TEXT}
                             it has ended; TEXT says why, or is empty where a client asked for it
    {"asleep": PREFIX, "why": TEXT}
                             its sandbox has ended for what TEXT says, and another starts when a
                             client asks for something: the relay keeps that until then
    {"refused": TEXT}        no other could be started; TEXT says why
    {"note": TEXT, "now": BOOL, "weight": NUMBER}
                             what the user should know, shown in the cell that runs, else in the
                             next one; with ``now`` where the last one has ended; of many those of
                             the lowest weight
    {"space": TEXT}          the answer to NO_SPACE, empty where there is none

It says a line on its stdout when clients can connect, and then words: NO_SPACE to ask what is full,
and those of :mod:`moat_nb.jupyter.relay.work`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["NO_SPACE", "RelayOptions", "command_line"]

NO_SPACE = b"moat: a cell found no space"


def command_line(command: Mapping[str, Any]) -> bytes:
    return json.dumps(command).encode() + b"\n"


@dataclass(frozen=True, kw_only=True)
class RelayOptions:
    client: Mapping[str, Any]
    """The connection info that clients have, with its key as text."""
    directory: str
    """A directory of the relay's, which it removes at its end."""
    trusted: bool = False
    """Whether what the kernel sends passes as it is."""

    def line(self) -> bytes:
        return command_line(asdict(self))

    @classmethod
    def parse(cls, line: bytes) -> RelayOptions:
        return cls(**json.loads(line))
