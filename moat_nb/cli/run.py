"""`moat-nb run`: one command in a sandbox, as if it ran here.

The main thread waits for the command. The guest client's thread writes its output, one thread feeds
its stdin, and one passes signals on, since a signal handler must not wait for the attach stream.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType, TracebackType

from moat_nb.cli.allow import on_terminal
from moat_nb.cli.interactive import follow, require, shell
from moat_nb.cli.user_terminal import write_all
from moat_nb.cli.visible_secrets import tell
from moat_nb.config.model import Config
from moat_nb.config.reader import load
from moat_nb.errors import ConfigError, MoatError, Problem, SandboxGone, StartError
from moat_nb.sandbox.guest_client import Exit, Process
from moat_nb.sandbox.sandbox import Sandbox
from moat_nb.text.progress import Silent, for_user

__all__ = ["enter", "run"]

NOT_FOUND = 127
CANNOT_RUN = 126
"""Shells' words for a command that was not started."""

PIECE = 64 << 10
"""Bytes, the most that one Process.write takes."""

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(
    directory: str,
    argv: Sequence[str],
    *,
    runtime: str | None = None,
    mounts: Sequence[str] = (),
    quiet: bool = False,
    terminal: bool = False,
) -> int:
    """Run ``argv``, else the file's ``command``; returns its exit status as a shell would.

    ``terminal`` gives it one of its own. Raises MoatError when there is none here, or the sandbox
    does not start or ends under the command.
    """
    if terminal:
        require()
    argv = argv or _command(load(directory))
    progress = Silent if quiet else for_user
    with (
        Signals() as signals,
        Sandbox.launch(
            directory,
            runtime,
            progress=progress,
            mounts=mounts,
            kernels=False,
            before_start=(lambda plan: None) if quiet else tell,
            approve=on_terminal(),
        ) as box,
    ):
        for notice in () if quiet else box.notices:
            _say(notice)
        try:
            if terminal:
                return _exit_code(follow(box, argv))
            with box.refusals(_say if not quiet else lambda words: None):
                return _follow(box, argv, signals)
        except StartError as error:
            print(f"moat-nb: {error} (in the sandbox)", file=sys.stderr)
            missing = str(error).startswith(os.strerror(errno.ENOENT))
            return NOT_FOUND if missing else CANNOT_RUN


def enter(directory: str, *, runtime: str | None = None, mounts: Sequence[str] = ()) -> int:
    """Run a shell, as :func:`run` with a terminal."""
    argv = shell(load(directory).name)
    return run(directory, argv, runtime=runtime, mounts=mounts, terminal=True)


def _say(words: str) -> None:
    print(f"moat-nb: {words}", file=sys.stderr)


def _command(config: Config) -> tuple[str, ...]:
    if config.command:
        return config.command
    hint = "give one: moat-nb run -- python3 -V; or set `command` in the file"
    raise ConfigError([Problem(where=config.path.name, what="there is no command", hint=hint)])


def _follow(box: Sandbox, argv: Sequence[str], signals: Signals) -> int:
    output = Output(signals)
    stdin = _stdin()
    signals.hold()
    process = box.spawn(argv, stdin=stdin is not None, on_output=output)
    signals.forward_to(process)
    if stdin is not None:
        threading.Thread(target=_feed, args=(process, stdin), daemon=True).start()
    how = process.wait()
    if output.failure is not None:
        return output.exit_code()
    if box.gone is not None:
        raise SandboxGone(box.gone)
    return _exit_code(how)


def _exit_code(how: Exit) -> int:
    if how.oom:
        print(f"moat-nb: {how}", file=sys.stderr)
    return how.code if how.code >= 0 else 128 - how.code


def _stdin() -> int | None:
    """The descriptor to pass on: None when it is a terminal, or closed."""
    if sys.stdin is None or sys.stdin.isatty():
        return None
    return sys.stdin.fileno()


def _feed(process: Process, descriptor: int) -> None:
    with contextlib.suppress(SandboxGone):
        while data := os.read(descriptor, PIECE):
            process.write(data)
        process.write(None)


class Output:
    """Writes the command's output to our own stdout and stderr, byte for byte.

    A reader that went away ends the command, as it would end a command of the host's.
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self.failure: OSError | None = None

    def __call__(self, stream: int, data: bytes) -> None:
        if self.failure is None:
            try:
                write_all(stream, data)
            except OSError as error:
                self.failure = error
                self._signals.send(signal.SIGKILL)

    def exit_code(self) -> int:
        """128 + SIGPIPE for a reader that went away; raises MoatError for a full disk."""
        if isinstance(self.failure, BrokenPipeError):
            return 128 + signal.SIGPIPE
        raise MoatError(f"the command's output cannot be written: {self.failure}")


class Signals:
    """SIGINT, SIGTERM and SIGHUP: before the command runs they end the start, then they go to
    its process group. A second Ctrl-C kills it.

    One that this process was told to ignore (``nohup``) stays ignored.
    """

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._holding = False

    def __enter__(self) -> Signals:
        before = {signum: signal.getsignal(signum) for signum in FORWARDED}
        self._before = {s: handler for s, handler in before.items() if handler != signal.SIG_IGN}
        for signum in self._before:
            signal.signal(signum, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def hold(self) -> None:
        """From now on keep what comes for the command, which is about to be started."""
        self._holding = True

    def forward_to(self, process: Process) -> None:
        threading.Thread(target=self._forward, args=(process,), daemon=True).start()

    def send(self, signum: int) -> None:
        self._requests.put(signum)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._holding:
            self.send(signum)
        elif signum == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + signum)

    def _forward(self, process: Process) -> None:
        interrupts = 0
        with contextlib.suppress(SandboxGone):
            while True:
                signum = self._requests.get()
                interrupts += signum == signal.SIGINT
                again = signum == signal.SIGINT and interrupts > 1
                process.signal(signal.SIGKILL if again else signum)
