"""One live sidecar: a container without a guest. The shell program ``WRAPPER`` holds it instead.

What it prints is hostile. It is read for the mounts that the wrapper shows before anything of the
image runs; after that it is a bounded log, into which no password gets, and of which the last lines
are shown as plain text.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from pathlib import Path

from moat_nb.config.readiness import LogLine
from moat_nb.errors import ProofError, StartError
from moat_nb.guest.mountinfo import NOTHING, read_table
from moat_nb.host.rotating_log import BoundedLog
from moat_nb.planning.builtin_services import ServiceInputs
from moat_nb.planning.mounts import EmptyFile
from moat_nb.planning.services import BEGIN, END_OF_MOUNTS, SidecarPlan
from moat_nb.planning.spec import ContainerSpec
from moat_nb.runtimes.base import AttachStream
from moat_nb.sandbox.model_pull import Pull
from moat_nb.sandbox.mount_check import Source, verify_mounts
from moat_nb.text.redaction import Redactor
from moat_nb.text.terminal import last_lines

__all__ = ["Cancelled", "Sidecar"]

LAST_LINES = 20

MOUNTS_SECONDS = 30.0
"""For the wrapper's first words, which take 0.01 s where nothing is wrong."""
LOOK_SECONDS = 0.05
"""Between two looks at whether a start was given up."""
MOUNTS_LIMIT = 1 << 20
"""Bytes of a mount table; one line is 150."""


class Cancelled(StartError):
    """Another sidecar's start has failed, or the sandbox has ended."""


class LineWatch:
    """Whether ``text`` was among what is fed; never, for None."""

    def __init__(self, text: str | None) -> None:
        self._wanted = None if text is None else text.encode()
        self._carried = b""
        self.found = False

    def feed(self, data: bytes) -> None:
        if self._wanted is not None and not self.found:
            carried = self._carried + data
            self.found = self._wanted in carried
            self._carried = carried[-len(self._wanted) :]


class Sidecar:
    """``on_end(sidecar)`` is called once, from a thread of its own, when it ends by itself."""

    def __init__(
        self,
        plan: SidecarPlan,
        spec: ContainerSpec,
        inputs: ServiceInputs,
        log: Path,
        on_end: Callable[[Sidecar], None],
        stream: Future[AttachStream],
    ) -> None:
        self.plan = plan
        self.spec = spec
        self.kernel_env: Mapping[str, str] = inputs.kernel
        self.log = BoundedLog(log)
        self.gone: str | None = None
        """How it ended, in plain text, or None while it runs."""
        self.pull: Pull | None = None
        """Of the model that was asked for last."""
        self._handover = inputs
        self._redactor = Redactor(inputs.secrets)
        self._on_end = on_end
        self.stream = stream
        """Done once its container runs, or did not start."""
        self._closing = False
        self._mounts = bytearray()
        self._shown = threading.Event()
        self.printed = LineWatch(plan.ready.text if isinstance(plan.ready, LogLine) else None)
        self._thread = threading.Thread(
            target=self._read, name=f"moat-sidecar-{plan.name}", daemon=True
        )
        self._thread.start()

    # -------- starting and stopping

    def start(self, cancelled: threading.Event) -> None:
        """Prove what its container does not see, and have its program run.

        Raises Cancelled when ``cancelled`` is set while its first words are waited for.
        """
        attach_stream = self.stream.result()
        self._send(attach_stream, BEGIN)
        give_up = time.monotonic() + MOUNTS_SECONDS
        while not self._shown.wait(LOOK_SECONDS):
            if cancelled.is_set():
                raise self.given_up()
            if time.monotonic() > give_up:
                raise StartError(self.describe(f"gave no sign in {MOUNTS_SECONDS:.0f} s"))
        if self.gone is not None:
            raise StartError(self.describe("did not start"))
        self._prove()
        self._send(attach_stream, _lines(self._handover))

    def _send(self, attach_stream: AttachStream, data: bytes) -> None:
        try:
            attach_stream.send(data)
        except OSError as error:
            raise StartError(self.describe(f"ended before its program ran: {error}")) from error

    def _prove(self) -> None:
        text = bytes(self._mounts).decode(errors="surrogateescape")
        try:
            table = read_table(text.split("\n")[:-1])
        except (ValueError, IndexError):
            raise ProofError(self.describe("did not show its mounts")) from None
        for mount in self.spec.mounts.excludes:
            there = table.get(mount.target, NOTHING)
            hidden = (
                "ro" in there.options if isinstance(mount, EmptyFile) else there.type == "tmpfs"
            )
            if not hidden:
                kind = there.type or "nothing"
                what = f"sees {mount.target}, which is excluded: {kind} is mounted there"
                raise ProofError(self.describe(what))
        found = {
            point: Source(there.device, there.root, "ro" in there.options)
            for point, there in table.items()
        }
        if words := verify_mounts(self.plan.spec, found):
            raise ProofError(self.describe(f"was not started: {words}"))

    def close(self) -> None:
        """Have it end: its program is told to stop, and killed 5 s later."""
        self._closing = True
        self.stream.cancel()
        self.stream.add_done_callback(_close)

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends, or has ended; waits for it."""
        self._thread.join(seconds)
        return self.gone is not None

    def join(self, timeout: float) -> None:
        """Wait until it has ended."""
        self._thread.join(timeout)
        self.log.close()

    # -------- what it is

    @property
    def name(self) -> str:
        return self.plan.name

    def describe(self, what: str) -> str:
        """``what`` as an error's text, with its place in moat.yaml, its state and last lines."""
        state = f"\n{self.gone}" if self.gone is not None else ""
        tail = self.last_lines()
        printed = f"\nits last lines:\n{tail}" if tail else "\nit printed nothing"
        return f"{self.plan.where}: {self.name} ({self.spec.image}) {what}{state}{printed}"

    def given_up(self) -> Cancelled:
        """To be raised."""
        return Cancelled(self.describe("was given up as the sandbox ended"))

    def last_lines(self) -> str:
        """Of what it printed, without the passwords that it was given, as plain text."""
        return last_lines(self.log.tail(), LAST_LINES)

    # -------- what it prints

    def _read(self) -> None:
        wait([self.stream])
        if _failed(self.stream):
            return
        attach_stream = self.stream.result()
        while data := self._receive(attach_stream):
            rest = data if self._shown.is_set() else self._read_mounts(data)
            self.log.write(self._redactor.feed(rest))
            self.printed.feed(rest)
        self.log.write(self._redactor.rest())
        words = self._redactor.text(attach_stream.last_words())
        attach_stream.close()
        self.gone = last_lines(words, LAST_LINES) or "it ended"
        self._shown.set()
        if not self._closing:
            self._on_end(self)

    def _receive(self, attach_stream: AttachStream) -> bytes:
        try:
            return attach_stream.receive()
        except OSError:
            return b""  # close() shut it

    def _read_mounts(self, data: bytes) -> bytes:
        """What follows the mounts in ``data``, or nothing yet."""
        self._mounts += data
        mounts, end, rest = bytes(self._mounts).partition(f"{END_OF_MOUNTS}\n".encode())
        if end or len(mounts) > MOUNTS_LIMIT:
            self._mounts = bytearray(mounts)
            self._shown.set()
        return rest


def _failed(stream: Future[AttachStream]) -> bool:
    return stream.cancelled() or stream.exception() is not None


def _close(stream: Future[AttachStream]) -> None:
    if not _failed(stream):
        stream.result().close()


def _lines(inputs: ServiceInputs) -> bytes:
    """What the wrapper reads: how many lines, and as many of shell."""
    words = [f"export {name}={shlex.quote(value)}" for name, value in inputs.env.items()]
    words.append(f"_moat_input={shlex.quote(inputs.stdin)}")
    script = "\n".join(words)
    return f"{script.count(chr(10)) + 1}\n{script}\n".encode(errors="surrogateescape")
