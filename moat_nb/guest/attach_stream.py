"""The attach stream, the guest's side: a message a line, to the launcher and from it."""

from __future__ import annotations

import json
import os
from typing import Any, List, Optional

from .process import CHUNK, set_dumpable


class AttachStream:
    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self.buffer = b""
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

    def send(self, kind: str, **fields: Any) -> None:
        data = json.dumps(dict(fields, type=kind)).encode() + b"\n"
        while data:
            data = data[os.write(self.sink, data) :]

    def lines(self) -> Optional[List[bytes]]:
        """The whole lines that have come, perhaps none; None at the stream's end."""
        try:
            data = os.read(self.source, CHUNK)
        except BlockingIOError:
            return []
        if not data:
            return None
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        return lines
