"""What blocks, awaited in an event loop that it does not block."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["in_thread"]

FORKED_WAKE_SECONDS = 0.05
"""How often a loop looks for itself whether a thread is done, as its wake-up may be lost."""

T = TypeVar("T")


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Run what blocks in a thread of its own, also in a process forked from one that did the same.

    Such a child (a ProcessPoolExecutor's, say) inherits the event loop of jupyter_core, and with
    it ``asyncio.to_thread``'s executor, whose threads are not there any more, and the socket that
    wakes the loop, which it shares with its parent.
    """
    future: Future[T] = Future()
    context = contextvars.copy_context()  # where a progress bar finds the cell it belongs to

    def run() -> None:
        try:
            future.set_result(context.run(function, *args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="moat-provisioner", daemon=True).start()
    done = asyncio.wrap_future(future)
    while not done.done():
        await asyncio.wait({done}, timeout=FORKED_WAKE_SECONDS)
    return done.result()
