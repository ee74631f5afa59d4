"""Python kernels that run in a fork of the guest's own interpreter, which is warm already."""

from __future__ import annotations

import faulthandler
import gc
import importlib
import importlib.util
import os
import signal
import sys
import threading
from typing import Any, Dict, List, Mapping, Optional, Sequence

from . import as_kernel, debugger, venv

LOWEST_PRIORITY = 19
STREAM = "%s.stream.OutStream" % __package__
READ_AT_START = ("PYTHON", "LANG", "LC_", "TZ", "LD_", "MALLOC_")
"""Variables that an interpreter, or its C library, reads once: a fork has read the guest's."""


def may_fork(environ: Mapping[str, str], own: Mapping[str, str]) -> bool:
    """Whether a forked kernel would be what a fresh interpreter with ``environ`` is.

    ``own`` is the environment that the guest began with.
    """

    def settings(variables: Mapping[str, str]) -> Dict[str, str]:
        return {k: v for k, v in variables.items() if k.startswith(READ_AT_START)}

    return (
        settings(environ) == settings(own)
        and all(environ.get(name) == own.get(name) for name in as_kernel.variables_read)
        and threading.active_count() == 1
        and not venv.shadows(environ)
    )


def preload(names: Sequence[str], in_no_hurry: bool = False) -> Optional[str]:
    """Import what kernels need, before any is forked; what went wrong, in words.

    No thread may come of it.
    """
    gc.disable()  # nothing of this is garbage, and looking for some takes a fifth of the time
    own = [name for name in names if as_kernel.is_own(name)]
    others = [name for name in names if name not in own]

    def load(names: Sequence[str]) -> None:
        if in_no_hurry:
            _import_at_low_priority(names)
        _import(names)

    try:
        load(own)
        if others:
            as_kernel.import_all(others, load)
    except (Exception, SystemExit) as error:
        return "%s: %s" % (type(error).__name__, error)
    finally:
        gc.enable()
        gc.freeze()
    return None


def _import(names: Sequence[str]) -> None:
    for name in names:
        if name == debugger.NAME:
            debugger.import_alone()
        else:
            importlib.import_module(name)


def _import_at_low_priority(names: Sequence[str]) -> None:
    """In a thread that ends: a priority cannot be raised again, and kernels are to have theirs."""

    def imports() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        try:
            _import(names)
        except (Exception, SystemExit):
            pass  # as it may want to be the main thread's, it is tried there once more

    thread = threading.Thread(target=imports)
    thread.start()
    thread.join()


def run_kernel(argv: List[str]) -> None:
    """What ``python -m ipykernel_launcher ARGS`` does."""
    become_python(argv)
    from ipykernel import kernelapp

    lose_nothing(kernelapp.IPKernelApp)
    kernelapp.launch_new_instance(outstream_class=STREAM)


def lose_nothing(application: Any) -> None:
    """ZeroMQ drops output that more than 1000 messages wait before; here all waits, in the memory
    of the sandbox: who listens outside lets few wait there."""
    import zmq

    make = application.init_iopub

    def init_iopub(self: Any, context: Any) -> None:
        context.setsockopt(zmq.SNDHWM, 0)  # of sockets that are made from now on
        make(self, context)

    application.init_iopub = init_iopub


def become_python(argv: List[str]) -> None:
    """Undo what the guest is beside a fresh interpreter."""
    # A crash in a library is to say in which line of whose code; ipykernel redirects stderr.
    faulthandler.enable(os.dup(2), all_threads=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(signum, signal.SIG_IGN)  # as every python starts
    gc.unfreeze()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()  # or each kernel would draw the same numbers
    set_arguments(argv)
    venv.enter(os.environ)


def set_arguments(argv: List[str]) -> None:
    launcher = importlib.util.find_spec("ipykernel_launcher")
    sys.argv = [launcher.origin if launcher and launcher.origin else argv[2], *argv[3:]]
