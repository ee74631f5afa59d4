"""The attach stream, the guest's side: messages to the launcher and from it."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from . import leash, protocol
from .messages import Decoder, encode
from .process import CHUNK, set_dumpable

LONGEST_LINE = 64 << 20
"""Bytes. The launcher's own longest is a command's, with its environment."""


class AttachStream:
    def __init__(self, source: int, sink: int, grace: float = 0.0) -> None:
        """``grace``: seconds without a word of the launcher's after which all ends; 0 for none."""
        self.source = source
        self.sink = sink
        self.grace = grace
        self.decoder = Decoder(LONGEST_LINE)
        os.set_blocking(source, False)

    @classmethod
    def take(cls, grace: float) -> AttachStream:
        """Move stdin and stdout out of the way of everything that is started from here, and out of
        the reach of the kernels, which run as the same user."""
        import fcntl

        set_dumpable(False)
        source, sink = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (0, 1)]
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        return cls(source, sink, grace)

    def send(self, kind: str, body: Optional[bytes] = None, **fields: Any) -> None:
        data = encode(kind, body, **fields)
        while data:
            data = data[os.write(self.sink, data) :]

    def messages(self) -> Optional[List[Dict[str, Any]]]:
        """Those that have come whole, perhaps none; None at the end, also one that is told."""
        try:
            data = os.read(self.source, CHUNK)
        except BlockingIOError:
            return []
        if not data:
            return None
        if self.grace:
            leash.renew(self.grace)
        found = list(self.decoder.feed(data))
        if any(message["type"] == protocol.END for message in found):
            return None
        return [message for message in found if message["type"] != protocol.ALIVE]
