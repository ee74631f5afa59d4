"""This end of our program on another machine: one ssh, which carries questions and then, once a
sandbox has been started, that sandbox's stream and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from moat_nb.errors import StartError
from moat_nb.runtimes.elsewhere.frames import (
    ENDED,
    MARK,
    PIECE,
    SEND,
    START,
    Frames,
    framed,
    pickled,
    read_frame,
)
from moat_nb.runtimes.elsewhere.program import packed
from moat_nb.runtimes.elsewhere.ways import QUEUING, waiting
from moat_nb.runtimes.pipes import PipeStream, spawn
from moat_nb.text.terminal import LOGGER, one_line

__all__ = ["Connection", "RemoteStream", "idle", "taken"]

START_SECONDS = 30.0
"""For ssh to have its connection and our program to answer."""
QUEUE_SECONDS = 2.0
"""Between two looks at what a job waits for."""
ANSWER_SECONDS = 120.0
"""For an answer; one that takes a copy's time says so by pieces."""
IDLE_SECONDS = 300.0
"""A connection that nobody used for so long is not trusted to be there."""
MOST_NOISE = 256 << 10
"""Bytes that a login shell may print before our program does."""

MOST_BEAT, LEAST_BEAT = 10.0, 1.0
"""Seconds: so often the sandbox's machine hears of us, which listens in steps of five; see
``carry.py``."""


class RemoteStream(PipeStream):
    """The attach stream of a sandbox there, in frames: see ``frames.py``."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(process)
        self._frames, self._came = Frames(), deque[bytes]()
        self._carries, self._seconds = False, MOST_BEAT
        self._lacked = 0
        """How often it has lacked memory since this was last asked."""
        self._over = threading.Event()

    def begin(self, early: bytes, beat: float) -> None:
        """It carries a sandbox from here on, of which ``early`` has come already, and says each
        ``beat`` seconds that we live."""
        self._carries, self._seconds = True, beat
        self._take(early)
        threading.Thread(target=self._beat, name="moat-beat", daemon=True).start()

    def send(self, data: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(data), PIECE):
            super().send(framed(data[at : at + PIECE]), timeout)

    def send_as_it_is(self, data: bytes) -> None:
        super().send(data, ANSWER_SECONDS)

    def receive(self, timeout: float | None = None) -> bytes:
        if not self._carries:
            return super().receive(timeout)
        give_up = None if timeout is None else time.monotonic() + timeout
        while not self._came:
            left = None if give_up is None else max(0.0, give_up - time.monotonic())
            if timeout and left == 0.0:  # however many empty frames there are
                raise TimeoutError("the sandbox says nothing")
            if not (data := super().receive(left)):
                return b""
            self._take(data)
        return self._came.popleft()

    def _take(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                if frame:
                    self._came.append(frame)
                else:
                    self._lacked += 1
        except ValueError:
            self.kill()

    def lacked_memory(self) -> bool:
        lacked, self._lacked = self._lacked, 0
        return lacked > 0

    def close(self) -> None:
        self._over.set()
        super().close()

    def last_words(self) -> str:
        """Our program there says how the sandbox ended; what ssh adds is of no use then."""
        words = super().last_words()
        _, found, ended = words.rpartition(ENDED)
        return ended.strip() if found else words

    def _beat(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                super().send(framed(b""), self._seconds)
            except TimeoutError:
                continue  # what is on the way is a sign of us, too
            except (OSError, ValueError):
                return


class Connection:
    """Methods raise StartError. Used by one thread at a time."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], where: str) -> None:
        self.where, self._environ = where, environ
        self._buffer, self._queued = b"", argv[0] == QUEUING
        self.used = time.monotonic()
        self.stream = RemoteStream(spawn(argv, environ))
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        self._wait_in_queue()
        word = self._word(time.monotonic() + START_SECONDS)
        if word == SEND:
            self._send(framed(packed().archive()))
            word = self._word(time.monotonic() + ANSWER_SECONDS)
        if word != START:
            raise StartError(f"{self.where}: our program there said {one_line(repr(word))}")

    def _wait_in_queue(self) -> None:
        """Until something comes, as long as Slurm says that it waits."""
        told = ""
        while self._queued and not self._buffer:
            try:
                self._buffer = self.stream.receive(QUEUE_SECONDS)
            except TimeoutError:
                reason = waiting(self.stream.errors, self._environ)
                if not reason:
                    return
                if reason != told:
                    told = reason
                    LOGGER.warning("%s: %s", self.where, reason)
                continue
            if not self._buffer:
                raise self._lost(None)

    def _word(self, until: float) -> bytes:
        while b"\n" not in self._buffer.partition(MARK)[2]:
            if len(self._buffer) > MOST_NOISE:
                raise StartError(f"{self.where}: its shell prints without an end")
            self._more(until - time.monotonic())
        word, _, self._buffer = self._buffer.partition(MARK)[2].partition(b"\n")
        return word

    @property
    def is_there(self) -> bool:
        """As far as can be known without a question; the program there waits for twice as long."""
        return self.stream.runs and time.monotonic() - self.used < IDLE_SECONDS

    def close(self) -> None:
        self.stream.kill()
        self.stream.close()

    # -------- questions

    def ask(self, question: str, **arguments: Any) -> Any:
        """What is answered, as JSON has it."""
        self._question(question, arguments)
        return self._answer()

    def _question(self, question: str, arguments: dict[str, Any]) -> None:
        self._send(framed(pickled((question, arguments))))

    def put(self, question: str, pieces: Iterable[bytes], **arguments: Any) -> None:
        """Ask, with an archive behind the question."""
        self._question(question, arguments)
        pending = bytearray()
        for piece in pieces:
            pending += piece
            if len(pending) >= PIECE:
                self._send(framed(bytes(pending)))
                pending.clear()
        if pending:
            self._send(framed(bytes(pending)))
        self._send(framed(b""))
        self._answer()

    def get(self, question: str, **arguments: Any) -> Iterator[bytes]:
        """Ask for an archive; raises behind its last piece where it is not whole."""
        self._question(question, arguments)
        while piece := self._frame():
            yield piece
        self._answer()

    def become_stream(self, grace: float) -> RemoteStream:
        """The stream of a sandbox that ends after ``grace`` seconds without a sign of us."""
        early, self._buffer = self._buffer, b""
        self.stream.begin(early, max(LEAST_BEAT, min(MOST_BEAT, grace / 4)))
        return self.stream

    # -------- bytes

    def _answer(self) -> Any:
        try:
            answer = json.loads(self._frame())
            error = answer.get("error")
        except (ValueError, AttributeError, RecursionError) as wrong:
            raise StartError(f"{self.where}: its answer is none: {wrong}") from wrong
        self.used = time.monotonic()
        if error is not None:
            raise StartError(f"{self.where}: {_bounded(str(error))}")
        return answer.get("value")

    def _send(self, data: bytes) -> None:
        try:
            self.stream.send_as_it_is(data)
        except OSError as error:
            raise self._lost(error) from error

    def _frame(self) -> bytes:
        try:
            return read_frame(self._exactly)
        except ValueError as error:
            raise StartError(f"{self.where}: {error}") from error

    def _exactly(self, size: int) -> bytes:
        until = time.monotonic() + ANSWER_SECONDS
        pieces, there = [self._buffer], len(self._buffer)
        self._buffer = b""
        while there < size:
            self._more(until - time.monotonic())
            pieces.append(self._buffer)
            there += len(self._buffer)
            self._buffer = b""
        data = b"".join(pieces)
        self._buffer = data[size:]
        return data[:size]

    def _more(self, seconds: float) -> None:
        try:
            data = self.stream.receive(max(0.0, seconds))
        except OSError as error:
            raise self._lost(error) from error
        if not data:
            raise self._lost(None)
        self._buffer += data

    def _lost(self, error: OSError | None) -> StartError:
        if isinstance(error, TimeoutError):
            return StartError(f"{self.where}: it does not answer")
        return StartError(f"{self.where}: {_bounded(self.stream.last_words())}")


MOST_WORDS = 2000
"""Characters of what a machine says went wrong."""


def _bounded(words: str) -> str:
    """In one line."""
    return one_line(" ".join(words[:MOST_WORDS].split()))


# ---------------------------------------------------------------- those that wait for a question

_idle: dict[tuple[object, ...], Connection] = {}
_lock = threading.Lock()


def _key(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[object, ...]:
    """ssh goes by the environment, too, and a forked process has its parent's pipes."""
    return os.getpid(), *argv, *sorted(environ.items())


def taken(argv: Sequence[str], environ: Mapping[str, str], where: str) -> Connection:
    """A connection for the caller alone: one that waits, or a new one."""
    with _lock:
        found = _idle.pop(_key(argv, environ), None)
    if found is not None:
        if found.is_there:
            return found
        found.close()
    return Connection(argv, environ, where)


@contextlib.contextmanager
def idle(argv: Sequence[str], environ: Mapping[str, str], where: str) -> Iterator[Connection]:
    """A connection to ask by, which waits for the next question afterwards."""
    connection = taken(argv, environ, where)
    try:
        yield connection
    except BaseException:
        connection.close()  # what is on the way to us would be taken for the next answer
        raise
    with _lock:
        before = _idle.pop(_key(argv, environ), None)
        _idle[_key(argv, environ)] = connection
    if before is not None:
        before.close()
