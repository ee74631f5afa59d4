"""The user's own terminal: what is asked there, and what is written past its end."""

from __future__ import annotations

import os
import select
import sys

__all__ = ["asked", "is_there", "write_all"]

BACKEND = "MPLBACKEND"
"""Where every ipykernel names a module, whoever has started it: ipykernel/kernelapp.py."""


def is_there() -> bool:
    """Whether somebody can be asked. A notebook's ``!command`` has a terminal that nobody sees."""
    if os.environ.get(BACKEND, "").startswith("module://"):
        return False
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def asked(question: str, *, default: bool = False) -> bool:
    """What whoever sits there answers; an empty line is ``default``, and the end of input a no."""
    sys.stderr.write(f"{question} [{'Y/n' if default else 'y/N'}] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    word = answer.strip().lower()
    return word in ("y", "yes") or (default and answer != "" and not word)


def write_all(descriptor: int, data: bytes) -> None:
    """Raises OSError where nobody reads any more, or there is no room."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            # Whoever shares the pipe with us may have made it non-blocking.
            select.select([], [descriptor], [])
