"""The launcher's end of the attach stream: the guest's messages, and the processes it runs for us.

What arrives here comes from a sandbox, whose kernels may have taken the guest over: a line has a
length limit, a field a type and a range, and whatever does not fit ends the sandbox.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout  # not the built-in one before 3.11
from typing import Any

from moat_nb.errors import ProgramNotFound, ProofError, SandboxGone, StartError
from moat_nb.guest import protocol
from moat_nb.guest.messages import Decoder, encode
from moat_nb.planning.spaces import Space
from moat_nb.runtimes.base import AttachStream
from moat_nb.sandbox import installed, space_words
from moat_nb.sandbox.mount_check import Source
from moat_nb.sandbox.mount_proof import (
    MountProof,
    parse_sources,
    parse_use,
    path_of,
    refuse_broken,
)
from moat_nb.sandbox.process import STDERR, Exit, Output, Process
from moat_nb.sandbox.usage import Usage
from moat_nb.text.terminal import last_lines
from moat_nb.text.untrusted import number, text

__all__ = ["STOPPED", "Exit", "GuestClient", "Output", "Process"]

MAX_LINE = 4 << 20
"""Bytes. The guest's own longest line, with what it found at each exclude, is far below it."""

STDOUT = 1

ENGINE_LINES = 20
STOPPED = "it was stopped"

TICK_SECONDS = 5.0
"""One wait for the guest's next word. Silence is counted in these and not by a clock, so that no
time counts in which this process itself did not run, as on a machine that was suspended."""
SILENCE_SECONDS = 60.0
"""Of a guest, which says that it lives each 5 s (see guest/loop.py). An engine may be frozen for
half of it, and a machine that is merely busy gives each process its turn in far less."""
PRELOAD_SECONDS = 180.0
"""The same before its first sign of life: it imports what kernels need, perhaps in no hurry."""
SEND_SECONDS = 30.0
"""For a message to be taken by the guest, which reads at once when nothing is wrong."""
SPAWN_SECONDS = 180.0
"""From the order to the process, which waits for the guest's imports too."""
MOST_BEAT = 10.0
"""Seconds from one sign of life to the next."""
END_SECONDS = 2.0
"""For the attach stream to end, once its sandbox was killed."""


class GuestClient:
    """Owns the attach stream: one thread reads it, any thread may send.

    ``on_event(kind, fields)`` hears what concerns the sandbox as a whole: ``mount_lost`` with
    the exclude's path, and ``gone`` with the reason, once, when the attach stream has ended.
    """

    def __init__(
        self,
        attach_stream: AttachStream,
        on_event: Callable[[str, str], None],
        spaces: Sequence[Space] = (),
    ) -> None:
        self._attach_stream = attach_stream
        self._spaces = spaces
        self._on_event = on_event
        self._processes: dict[str, Process] = {}
        self._answers: dict[tuple[str, str], Future[Any]] = {}
        self._watched: set[str] = set()
        self.sources: Mapping[str, Source] = {}
        """What is mounted where, as the guest saw it when it last proved the excludes."""
        self.lost: set[str] = set()
        """The excludes that came undone; an answer of :meth:`usage` comes after all of them."""
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._ended = threading.Lock()
        """Taken for good by who tells of the end."""
        self._over = threading.Event()
        """It has ended."""
        self._counter = 0
        self._broken: str | None = None
        self.abandoned: str | None = None
        """Why it was killed, when it did not do what a guest must do in time."""
        self._delivering = False
        """Somebody here takes what a process has said, and the guest may wait for that."""
        self._patience = PRELOAD_SECONDS
        self.stopping: str | None = None
        """Why, set by who is about to end it, so that its end needs no other reason."""
        self.gone: str | None = None
        self.ready: Future[tuple[MountProof, ...]] = Future()
        self.outside: Future[tuple[tuple[str, ...], tuple[str, ...]]] = Future()
        """What was tried of the network that is to be closed, and what answered."""
        self.on_tunnel: Callable[[dict[str, Any]], None] = _no_tunnel
        """Takes what the guest says of channels."""
        self.spare_ready = threading.Event()
        """A kernel that was made ahead of need listens."""
        self.thread = threading.Thread(target=self._read, name="moat-guest", daemon=True)
        self.thread.start()

    # -------- to the guest

    def send(
        self, kind: str, body: bytes | None = None, *, within: float | None = None, **fields: Any
    ) -> None:
        """Raises SandboxGone when the guest is, or does not take it in ``within`` seconds. Without
        that it has SEND_SECONDS, and its sandbox is ended when it does not take it."""
        limit = SEND_SECONDS if within is None else within
        try:
            self._send(encode(kind, body, **fields), limit)
        except TimeoutError as error:
            reason = f"the guest took nothing that it was sent in {limit:g} s"
            if within is None and not self._delivering:
                self.abandon(f"{reason}, so it was ended")
            raise SandboxGone(self.gone or reason) from error

    def send_patiently(self, kind: str, body: bytes | None = None, **fields: Any) -> None:
        """For who can wait: while nobody here takes what a process says (it stands before a pager,
        or a terminal is held), the guest takes nothing either. Raises SandboxGone."""
        self._send(encode(kind, body, **fields), None)

    def _send(self, message: bytes, limit: float | None) -> None:
        """Raises SandboxGone, and TimeoutError."""
        if not self._sending.acquire(timeout=-1 if limit is None else limit):
            raise TimeoutError
        try:
            self._attach_stream.send(message, limit)
        except TimeoutError:
            raise
        except OSError as error:
            raise SandboxGone(self.gone or f"the sandbox has ended: {error}") from error
        finally:
            self._sending.release()

    def beat(self, grace: float) -> None:
        """Say that we live, as long as it does, which ends after so many seconds without."""
        seconds = min(MOST_BEAT, grace / 4)

        def beats() -> None:
            with contextlib.suppress(SandboxGone):
                while not self._over.wait(seconds):
                    # What is on the way already is a sign of us, too.
                    with contextlib.suppress(TimeoutError):
                        self._send(encode(protocol.ALIVE), seconds)

        threading.Thread(target=beats, name="moat-beat", daemon=True).start()

    def abandon(self, reason: str) -> None:
        """Kill the sandbox, as the guest does not do what it must; returns in a few seconds, with
        all told that wait for something of it."""
        with self._lock:
            self.abandoned = self.abandoned or reason
        self._attach_stream.kill()
        self.thread.join(END_SECONDS)
        if self.thread.is_alive():  # an engine that does not answer, or a frozen cgroup
            self._end(self.abandoned)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        fork: bool = False,
        connection: Mapping[str, Any] | None = None,
        stdin: bool = False,
        terminal: tuple[int, int] | None = None,
        tcp: bool = False,
        on_output: Output | None = None,
    ) -> Process:
        """Start a process and wait until it runs; StartError with the guest's words if not.
        ``terminal``: the rows and columns of one of its own, which is its stdin too."""
        with self._lock:
            self._counter += 1
            id = str(self._counter)
        process = Process(self, id, on_output)
        self._processes[id] = process
        if self.gone is not None:
            raise SandboxGone(self.gone)
        self.send(
            protocol.SPAWN,
            id=id,
            argv=list(argv),
            env=dict(env),
            cwd=cwd,
            fork=fork,
            connection=connection,
            stdin=stdin,
            terminal=terminal,
            tcp=tcp,
        )
        try:
            process.spawned.result(SPAWN_SECONDS)
        except FutureTimeout:
            self.abandon(f"the guest started nothing in {SPAWN_SECONDS:.0f} s, so it was ended")
            raise SandboxGone(str(self.gone)) from None
        return process

    def mount_usage(self, timeout: float = 5.0) -> dict[str, tuple[int, int]]:
        """``{path: (size, used)}`` in bytes of the excludes now."""
        use: dict[str, tuple[int, int]] = self._ask(protocol.USAGE, protocol.USAGE, timeout)
        return use

    def usage(self, timeout: float = 5.0) -> Usage:
        """The kernels' memory and CPU, of the last two minutes."""
        found: Usage = self._ask(protocol.VITALS, protocol.VITALS, timeout)
        return found

    def no_space(self, timeout: float = 1.0) -> str:
        """Why a write has found no room just now, in words."""
        held = self._ask(protocol.SPACES, protocol.SPACES, timeout)
        return space_words.no_space(self._spaces, held)

    def prove(self, timeout: float = 5.0) -> tuple[MountProof, ...]:
        """Have the excludes proved once more; ProofError when one does not hold any more."""
        proofs: tuple[MountProof, ...] = self._ask(protocol.PROVE, protocol.PROVED, timeout)
        refuse_broken(proofs)
        return proofs

    def must_answer(self, within: float) -> None:
        """Returns when the guest has answered, or when it did not and its sandbox has ended."""
        try:
            self._ask(protocol.VITALS, protocol.VITALS, within)
        except SandboxGone:
            if self.gone is None:
                self.abandon(f"the guest does not answer for {within:.0f} s, so it was ended")

    def _ask(self, kind: str, answered_by: str, timeout: float) -> Any:
        with self._lock:
            self._counter += 1
            id = str(self._counter)
        answer: Future[Any] = Future()
        self._answers[answered_by, id] = answer
        if self.gone is not None:
            raise SandboxGone(self.gone)
        self.send(kind, id=id, within=timeout)
        try:
            return answer.result(timeout=timeout)
        except FutureTimeout:
            raise SandboxGone("the guest does not answer") from None
        finally:
            self._answers.pop((answered_by, id), None)

    # -------- from the guest

    def _read(self) -> None:
        decoder = Decoder(MAX_LINE)
        try:
            while chunk := self._receive():
                for message in decoder.feed(chunk):
                    self._handle(message)
            reason = self.stopping or self.abandoned or self._broken or "the sandbox has ended"
        except Exception as error:
            # Whatever a hostile message provokes (a RecursionError, an OverflowError, ...), those
            # who wait must hear of the end.
            reason = (
                f"the guest sent what no guest of ours sends ({type(error).__name__}: "
                f"{error!s:.200}), so it was ended"
            )
            self._attach_stream.kill()
        self._attach_stream.close()
        self._end(reason)

    def _receive(self) -> bytes:
        """What it says next; nothing once it has ended, or was ended for its silence."""
        silence = 0.0
        try:
            while silence < self._patience:
                try:
                    return self._attach_stream.receive(TICK_SECONDS)
                except TimeoutError:
                    silence += TICK_SECONDS
        except OSError as error:
            self._broken = f"the attach stream broke: {error}"
            return b""
        self.abandoned = f"the guest does not answer for {silence:.0f} s, so it was ended"
        self._attach_stream.kill()
        return b""

    def _handle(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind in (protocol.READY, protocol.REFUSED):
            self.sources = parse_sources(message)
            self._running(kind, tuple(MountProof.parse(found) for found in message["mounts"]))
        elif kind == protocol.MOUNT_LOST:
            path = path_of(message["path"])
            self._watched.remove(path)
            self.lost.add(path)
            self._on_event("mount_lost", path)
        elif kind == protocol.USAGE:
            self._answer(kind, message["id"], dict(map(parse_use, message["mounts"])))
        elif kind == protocol.PROVED:
            self.sources = parse_sources(message)
            mounts = tuple(MountProof.parse(found) for found in message["mounts"])
            self._answer(kind, message["id"], mounts)
        elif kind == protocol.VITALS:
            self._answer(kind, message["id"], Usage.parse(message, self._attach_stream.memory))
        elif kind == protocol.SPACES:
            self._answer(kind, message["id"], space_words.parse(message["spaces"]))
        elif kind in protocol.OF_TUNNEL:
            self.on_tunnel(message)
        elif kind == protocol.SPARE:
            self.spare_ready.set()
        elif kind == protocol.ALIVE:
            self._patience = SILENCE_SECONDS
        elif kind == protocol.OUTSIDE:
            tried, reached = message["tried"], message["reached"]
            self.outside.set_result((_places(tried), _places(reached)))
        elif kind == protocol.INSTALLED:
            self._on_event("installed", installed.as_text(message["packages"]))
        else:
            self._handle_process(kind, self._processes[message["id"]], message)

    def _answer(self, kind: str, id: str, result: Any) -> None:
        answer = self._answers.pop((kind, id), None)
        if answer is not None:  # or it came after the one who asked had given up
            answer.set_result(result)

    def _running(self, kind: str, mounts: tuple[MountProof, ...]) -> None:
        if self.ready.done():
            raise ValueError("ready twice")
        try:
            refuse_broken(mounts)
        except ProofError as error:
            self.ready.set_exception(error)
            return
        if kind == protocol.REFUSED:
            raise ValueError("refused for no reason")
        self._watched = {mount.path for mount in mounts}
        self.ready.set_result(mounts)

    def _handle_process(self, kind: str, process: Process, message: dict[str, Any]) -> None:
        if kind == protocol.OUTPUT:
            stream, data = message["stream"], message["body"]
            if stream not in (STDOUT, STDERR):
                raise ValueError(f"no stream {stream!r:.40}")
            self._delivering = True
            process.hear(stream, data)
            self._delivering = False
        elif kind == protocol.SPAWNED:
            process.spawned.set_result(number(message["pid"]))
        elif kind == protocol.FAILED:
            kind_of = ProgramNotFound if message["missing"] is True else StartError
            process.spawned.set_exception(kind_of(text(message["error"], 2000)))
            self._processes.pop(process.id)
        elif kind == protocol.INPUT_TAKEN:
            process._input_taken.release()
        elif kind == protocol.EXITED:
            signum, code = message["signal"], message["code"]
            ended = -number(signum) if signum is not None else number(code)
            lacked = self._attach_stream.lacked_memory() and ended == -signal.SIGKILL
            oom = lacked or bool(message["oom"])
            held = space_words.parse(message.get("spaces", ()))
            limits = space_words.why_killed(-ended, oom=oom, spaces=self._spaces, held=held)
            process.ended(ended, oom=oom, limits=limits)
            self._processes.pop(process.id)
        else:
            raise ValueError(f"unknown message {kind!r:.40}")

    def _end(self, reason: str) -> None:
        if not self._ended.acquire(blocking=False):
            return
        told = reason in (self.stopping, self.abandoned)
        words = ""
        with contextlib.suppress(Exception):  # whatever: who waits must hear of the end
            words = "" if told else last_lines(self._attach_stream.last_words(), ENGINE_LINES)
        self.gone = f"{reason}: {words}" if words else reason
        self._over.set()
        if not self.ready.done():
            self.ready.set_exception(StartError(self.gone))
        if not self.outside.done():
            self.outside.set_exception(StartError(self.gone))
        for process in list(self._processes.values()):
            process.ended(-int(signal.SIGKILL))
        for answer in list(self._answers.values()):
            answer.set_exception(SandboxGone(self.gone))
        self._on_event("gone", self.gone)


MOST_PLACES = 20


def _places(found: Any) -> tuple[str, ...]:
    return tuple(text(place, 100) for place in found[:MOST_PLACES])


def _no_tunnel(message: dict[str, Any]) -> None:
    raise ValueError("a channel where there is no tunnel")
