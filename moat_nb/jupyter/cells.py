"""One cell in a sandbox's kernel, from its request to its reply and the end of its output.

What arrives is a sandbox's: a message may be malformed, be somebody else's, or never come. Only
messages that answer our request are looked at, and each field is checked where it is used.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import zmq

from moat_nb.errors import CellInterrupted, MoatError, MoatRemoteError, SandboxGone
from moat_nb.jupyter.bounds import MAX_MESSAGE
from moat_nb.jupyter.kernel_manager import READY_TIMEOUT, Kernel
from moat_nb.jupyter.time_limits import overtime
from moat_nb.text.terminal import for_terminal, without_halves

__all__ = ["Ask", "Options", "Show", "connect", "json_without_halves", "run_cell"]

POLL_SECONDS = 0.5
"""Between two looks at whether the kernel still lives, while it says nothing."""

SILENCE_SECONDS = 5.0
"""How long the reply may be behind the end of the output, or this behind it, before it is lost."""

INTERRUPT_SECONDS = 10.0
"""How long an interrupted cell may take to end."""

START_SECONDS = 2.0
"""How long a cell may take to begin: an interrupt before that would be lost."""

Show: TypeAlias = Callable[[str, dict[str, Any], list[Any]], None]
"""Called with an output message's type, content and buffers."""
Ask: TypeAlias = Callable[[str, bool], str]
"""Called with input()'s prompt, and whether the answer is secret; returns the answer, and raises
EOFError when there is none."""


@dataclass(frozen=True, kw_only=True)
class Options:
    ask: Ask | None = None
    """None: input() is refused."""
    timeout: float | None = None
    """Seconds."""
    hidden: bool = False
    """Not a cell of the user's: it leaves no trace in the history there."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set by another thread to have the cell interrupted."""


def run_cell(kernel: Kernel, code: str, show: Show, options: Options) -> dict[str, Any]:
    """Run ``code`` and return the reply's content.

    Raises MoatRemoteError when it raised there, CellInterrupted when it took too long or was
    cancelled, SandboxGone when the kernel or the sandbox ended. A KeyboardInterrupt here
    interrupts it there, and is raised again when it has ended, or at once by another; so is what
    ``show`` or ``options.ask`` raises.
    """
    conversation = _Conversation(kernel, code, show, options)
    limit = None if options.hidden else kernel.sandbox.config.kernel.cell_timeout
    timeouts = [seconds for seconds in (options.timeout, limit) if seconds is not None]
    timeout = min(timeouts, default=None)
    try:
        ended = conversation.follow(timeout, options.cancelled.is_set)
    except SandboxGone:
        raise
    except KeyboardInterrupt:
        conversation.interrupt()
        raise
    except BaseException:
        # What cannot be shown here must not go on there, out of sight and before the next cell.
        conversation.be_silent()
        conversation.interrupt()
        raise
    if not ended:
        stopped = conversation.interrupt()
        why, goes_on = "the cell was cancelled", "but it goes on"
        if not options.cancelled.is_set():
            assert timeout is not None
            why = f"the cell took longer than {timeout:g} s"
            if timeout == limit:
                why = overtime(limit)
                goes_on = "and its kernel ended, as it did not stop"
                if not stopped:
                    kernel.signal_kernel(signal.SIGKILL)
        words = f"{why}, so it was interrupted{'' if stopped else f', {goes_on}'}"
        raise CellInterrupted(words, stopped=stopped)
    return conversation.result()


def connect(kernel: Kernel, timeout: float = READY_TIMEOUT) -> None:
    """Open the channels of its client and wait until it answers over them.

    Raises SandboxGone when it does not.
    """
    kernel.kc.start_channels(hb=False)
    try:
        kernel.kc.wait_for_ready(timeout=timeout)
    except RuntimeError as error:
        why = kernel.why_ended()
        raise SandboxGone(why or f"the kernel does not answer: {error}") from error


class _Conversation:
    def __init__(self, kernel: Kernel, code: str, show: Show, options: Options) -> None:
        self._kernel = kernel
        self._show = show
        self._ask = options.ask
        self._reply: dict[str, Any] | None = None
        self._busy = self._idle = False
        self._heard = time.monotonic()
        kc = kernel.kc
        self._channels = {
            channel.socket: (channel, handle)
            for channel, handle in (
                (kc.iopub_channel, self._hear_output),
                (kc.shell_channel, self._hear_reply),
                (kc.stdin_channel, self._hear_question),
            )
        }
        self._poller = zmq.Poller()
        for socket in self._channels:
            self._poller.register(socket, zmq.POLLIN)
        self._id = kc.execute(
            code, store_history=not options.hidden, allow_stdin=options.ask is not None
        )

    # -------- following it

    def follow(self, seconds: float | None, stop: Callable[[], bool] = lambda: False) -> bool:
        """Handle messages until the cell has ended; False when it did not in time, or before
        ``stop`` said so."""
        give_up = math.inf if seconds is None else time.monotonic() + seconds
        self._until(lambda: self._ended() or self._lost() or stop(), seconds)
        if self._ended() or not self._lost():
            return self._ended()
        self._kernel.kc.stop_channels()
        self._kernel.kc = self._kernel.client()
        # One that can answer does at once; a cell that broke its kernel gets no time for that.
        left = max(SILENCE_SECONDS, give_up - time.monotonic())
        connect(self._kernel, min(left, READY_TIMEOUT))
        words = f"what was longer than {MAX_MESSAGE >> 20} MiB was lost, and what came after it"
        self._show("stream", {"name": "stderr", "text": f"moat: {words}\n"}, [])
        return True

    def _ended(self) -> bool:
        # The reply and the output come over two sockets, so either may be the last.
        return self._reply is not None and self._idle

    def _lost(self) -> bool:
        """Whether one of the two says it has ended, and the other will not."""
        silent = time.monotonic() - self._heard > SILENCE_SECONDS
        return silent and (self._reply is not None or self._idle)

    def _until(self, true: Callable[[], bool], seconds: float | None) -> None:
        give_up = math.inf if seconds is None else time.monotonic() + seconds
        while not true() and (left := give_up - time.monotonic()) > 0:
            events = self._poller.poll(int(min(left, POLL_SECONDS) * 1000) + 1)
            for socket, _ in events:
                self._receive(socket)
            if events:
                self._heard = time.monotonic()
            else:
                self._look_after_kernel()

    def _receive(self, socket: Any) -> None:
        channel, handle = self._channels[socket]
        # Anything may be wrong with what a sandbox sends; what cannot be read is no message.
        try:
            message = channel.get_msg(timeout=0)
            ours = message["parent_header"]["msg_id"] == self._id
            kind, content = message["header"]["msg_type"], json_without_halves(message["content"])
        except Exception:
            return
        if ours and isinstance(content, dict):
            handle(str(kind), content, list(message.get("buffers") or ()))

    def _look_after_kernel(self) -> None:
        why = self._kernel.why_ended()
        if why is not None:
            raise SandboxGone(why)

    # -------- what arrives

    def _hear_output(self, kind: str, content: dict[str, Any], buffers: list[Any]) -> None:
        if kind == "status":
            self._busy = True
            self._idle = content.get("execution_state") == "idle"
        else:
            self._show(kind, content, buffers)

    def _hear_reply(self, kind: str, content: dict[str, Any], buffers: list[Any]) -> None:
        if kind == "execute_reply":
            self._reply = content

    def _hear_question(self, kind: str, content: dict[str, Any], buffers: list[Any]) -> None:
        if kind != "input_request" or self._ask is None:
            return
        try:
            answer = self._ask(_text(content.get("prompt")), content.get("password") is True)
        except EOFError:
            answer = "\x04"  # as a terminal has it: ipykernel raises EOFError there
        self._kernel.kc.input(answer)

    # -------- how it ends

    def be_silent(self) -> None:
        """Show and ask nothing more."""
        self._show, self._ask = (lambda *message: None), None

    def interrupt(self) -> bool:
        """Interrupt the cell there and see it to its end; whether it came."""
        self._until(lambda: self._busy or self._reply is not None, START_SECONDS)
        with contextlib.suppress(SandboxGone):
            self._kernel.interrupt_kernel()
            return self.follow(INTERRUPT_SECONDS)
        # With its kernel; or that lives, and does not answer.
        return self._kernel.sandbox.gone is not None or self._kernel.why_ended() is not None

    def result(self) -> dict[str, Any]:
        reply = self._reply
        if reply is None:
            raise MoatError("the kernel's reply was lost, so how the cell ended is not known")
        if reply.get("status") == "ok":
            return reply
        lines = reply.get("traceback")
        raise MoatRemoteError(
            _text(reply.get("ename")) or "error",
            _text(reply.get("evalue")),
            [_text(line) for line in lines] if isinstance(lines, list) else [],
        )


def json_without_halves(value: Any) -> Any:
    """``value`` (of JSON) as it can be encoded, each half of a character replaced."""
    if isinstance(value, str):
        return value if value.isascii() else without_halves(value)
    if isinstance(value, dict):
        return {
            json_without_halves(name): json_without_halves(inner) for name, inner in value.items()
        }
    if isinstance(value, list):
        return [json_without_halves(inner) for inner in value]
    return value


def _text(value: Any) -> str:
    return for_terminal(value) if isinstance(value, str) else ""
