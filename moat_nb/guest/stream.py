"""The stdout and stderr of a forked kernel. Imported by name, as ipykernel's option wants it."""

from __future__ import annotations

from ipykernel import iostream

PART = 1 << 20
"""Characters: enough that a message's own cost is small beside them."""


class OutStream(iostream.OutStream):
    """Sends what a cell writes in parts. ipykernel sends all that was written within 0.2 s in one
    message, which each that it passes has to read to its end first: the kernel, the output relay
    and the client would work one after the other, where there is a core for each."""

    __module__ = iostream.__name__  # libraries know a notebook by it
    _unsent = 0

    def write(self, string: str) -> int:
        if isinstance(string, str) and len(string) > PART:
            return sum(self.write(string[at : at + PART]) for at in range(0, len(string), PART))
        super().write(string)
        self._unsent += len(string)
        if self._unsent >= PART:
            self._unsent = 0
            self.flush()  # type: ignore[no-untyped-call]
        return len(string)
