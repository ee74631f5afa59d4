"""From the guest's command line to its loop, and in a fork of it to a kernel."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from . import leash
from .attach_stream import AttachStream
from .kernel import run_kernel
from .loop import Guest
from .process import BecomeKernel
from .settings import Settings
from .spare import run_spare


def load_all() -> None:
    """Now, as where the guest has come by the stream its files are the kernels' user's."""
    for name in os.listdir(os.path.dirname(__file__)):
        module, extension = os.path.splitext(name)
        if extension == ".py" and not module.startswith("__"):
            importlib.import_module("." + module, __package__)


def main() -> None:
    settings = Settings.from_argv(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if settings.grace:
        load_all()
        leash.begin(settings.grace)
    guest = Guest(settings, AttachStream.take(settings.grace))
    try:
        code = guest.run()
    except BecomeKernel as kernel:
        argv, spare = kernel.argv, kernel.spare
        if guest.tunnel is not None:
            guest.tunnel.forget()
        del guest
    except BrokenPipeError:
        os._exit(0)
    else:
        os._exit(code)  # PID 1's end takes everything else in the sandbox with it
    (run_spare if spare else run_kernel)(argv)
