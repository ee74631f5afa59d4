"""The relay's process, started by :mod:`moat_nb.jupyter.relay.process`.

Its stdin is described in :mod:`moat_nb.jupyter.relay.options`; the process ends when stdin does.
It writes a line to stdout when clients can connect, and then its words.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys

from moat_nb.jupyter.relay.options import RelayOptions
from moat_nb.jupyter.relay.relay import Relay

__all__ = ["main"]

MEMORY = 2 << 30
"""Bytes of address space; it takes 0.2 GB for itself."""


def main() -> None:
    # Ctrl-C in a terminal goes to the launcher, which decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    # What a sandbox sends may not take the host's memory: with more the relay ends, and another
    # takes its place.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with open(0, "rb", buffering=0, closefd=False) as stdin:  # nothing is read ahead
        line = stdin.readline()
    if not line:
        return
    options = RelayOptions.parse(line)
    relay = Relay(options, sys.stdin.fileno())
    os.write(sys.stdout.fileno(), b"listening\n")
    relay.run()
    # The launcher removes it too; here it goes also when the launcher was killed.
    shutil.rmtree(options.directory, ignore_errors=True)


if __name__ == "__main__":
    main()
