"""A terminal of a child's own: a pair of descriptors, one for the child and one for the guest."""

from __future__ import annotations

import os
from typing import Dict, List

LEFT = 1 << 18
"""Bytes that are read of what a program left in its terminal at its end: the kernel holds less."""


def open_ends(ends: Dict[str, int], size: List[int]) -> None:
    """As process.open_pipes: the child's three are one terminal of ``[rows, columns]``."""
    ends["out"], ends["child's in"] = os.openpty()
    resize(ends["out"], size[0], size[1])
    for name in ("child's out", "child's err"):
        ends[name] = os.dup(ends["child's in"])
    ends["in"] = os.dup(ends["out"])
    os.set_blocking(ends["out"], False)


def resize(descriptor: int, rows: int, columns: int) -> None:
    """Its programs hear of it by SIGWINCH."""
    import fcntl  # few sandboxes have a terminal, and every start waits for what is imported
    import struct
    import termios

    try:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
    except OSError:
        pass  # all who had it open have just left


def take(descriptor: int) -> None:
    """Make it the terminal of this process, which leads a session: Ctrl-C goes to its programs."""
    import fcntl
    import termios

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
