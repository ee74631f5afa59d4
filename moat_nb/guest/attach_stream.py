"""The attach stream, the guest's side: messages to the launcher and from it."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from .messages import Decoder, encode
from .process import CHUNK, set_dumpable

LONGEST_LINE = 64 << 20
"""Bytes. The launcher's own longest is a command's, with its environment."""


class AttachStream:
    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self.decoder = Decoder(LONGEST_LINE)
        os.set_blocking(source, False)

    @classmethod
    def take(cls) -> AttachStream:
        """Move stdin and stdout out of the way of everything that is started from here, and out of
        the reach of the kernels, which run as the same user."""
        import fcntl

        set_dumpable(False)
        source, sink = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (0, 1)]
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        return cls(source, sink)

    def send(self, kind: str, body: Optional[bytes] = None, **fields: Any) -> None:
        data = encode(kind, body, **fields)
        while data:
            data = data[os.write(self.sink, data) :]

    def messages(self) -> Optional[List[Dict[str, Any]]]:
        """Those that have come whole, perhaps none; None at the stream's end."""
        try:
            data = os.read(self.source, CHUNK)
        except BlockingIOError:
            return []
        return list(self.decoder.feed(data)) if data else None
