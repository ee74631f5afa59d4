"""The end of a sandbox whose launcher is silent, as one that vanished or was stopped is.

A timer of the kernel's, as the guest may stand in a write that nobody reads.
"""

from __future__ import annotations

import os
import signal


def begin(grace: float) -> None:
    signal.signal(signal.SIGALRM, lambda *_: os._exit(4))  # the first process ends all others
    renew(grace)


def renew(grace: float) -> None:
    """From now on the launcher has so many seconds."""
    signal.setitimer(signal.ITIMER_REAL, grace)
