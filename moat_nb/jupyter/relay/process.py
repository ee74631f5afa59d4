"""Starts and follows the relay's process, which stands between a kernel and its clients.

The relay parses what a sandbox sends, so it is a process of its own. It ends when its stdin ends,
however the launcher died. A relay that died is started again; clients connect to it by themselves.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moat_nb.errors import MoatError, SandboxGone, StartError
from moat_nb.host import isolated_python
from moat_nb.host.run_directory import ClientDirectory
from moat_nb.jupyter.relay.commands import Commands
from moat_nb.jupyter.relay.notes import ORDINARY
from moat_nb.jupyter.relay.options import NO_SPACE, RelayOptions
from moat_nb.jupyter.relay.work import WORDS
from moat_nb.sandbox.connection import PORTS

__all__ = ["RelayProcess", "close_ahead", "make_ahead", "take"]

PACKAGES = ("zmq", "nh3", "orjson", "markdown_it", "mdurl")
"""The relay's imports beside the standard library and this package."""

END_SECONDS = 2.0
"""Between the end of the relay's stdin and its kill."""

PAUSE_SECONDS = 0.5
"""Between a relay's death and the next start: a sandbox may know how to crash it."""

LONGEST_PAUSE_SECONDS = 30.0
"""To which the pause grows, twofold with each death."""

STARTED_AGAIN = (
    "the relay of the kernel's output ended and was started again; what came meanwhile is lost"
)

BOUND = "b"
"""The name of the sockets that the relay binds itself, of its own directory."""

TAIL = 4096
"""Bytes of a dead relay's last words that are logged."""

logger = logging.getLogger("moat_nb")


class RelayProcess:
    """The relay of one client's kernels, which are one after another.

    The constructor starts a process, which imports what it needs while the sandbox starts;
    :meth:`open` has it listen. All methods may be called from any thread; of those that tell it
    something none waits for it, and one that takes nothing any more is started again.
    """

    def __init__(self, base: Path) -> None:
        """``base`` is the directory of this user's sandboxes."""
        self.base = base
        self.no_space: Callable[[], str] = str
        """Says why a write inside has found no room just now; called from a thread."""
        self._directory = ClientDirectory.make(base)
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._options: RelayOptions | None = None
        self._linked = False
        self._state: dict[str, str] | None = None
        """The last command that a relay in its place must know."""
        self.on_word: Callable[[str], None] = lambda word: None
        """Called from a thread with each of the relay's words (see ``work.py``)."""
        self._follower = threading.Thread(target=self._follow, name="moat-relay", daemon=True)
        self._process = self._started()
        self._commands = Commands(self._process)

    def open(self, client: Mapping[str, Any], *, trusted: bool = False) -> None:
        """Have clients served that have this connection info (JSON-ready); returns when they can
        connect. ``trusted``: what the kernel sends passes as it is. Raises StartError."""
        directory = str(self._directory.path)
        self._linked = client["ip"] == self.prefix
        if self._linked:
            client = {**client, "ip": f"{directory}/{BOUND}"}
        with self._lock:
            self._options = RelayOptions(client=client, directory=directory, trusted=trusted)
            self._commands.begin(self._options.line())
        if not self._listens(self._process):
            raise StartError(f"the relay of the kernel's output ended: {self._last_words()}")
        with self._lock:
            self._link()
        self._follower.start()

    @property
    def prefix(self) -> str:
        """For the sockets that clients connect to, ``PREFIX-1`` to ``PREFIX-5``; no sandbox sees
        the directory."""
        return str(self._directory.path / "k")

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def connect(self, kernel: Mapping[str, Any]) -> None:
        """A kernel with this connection info (JSON-ready) is there, or comes."""
        with self._lock:
            self._link()
            self._state = {"connect": kernel["ip"], "key": kernel["key"]}
            self._command(**self._state)

    def ended(self, prefix: str, why: str) -> None:
        """The kernel at these sockets has ended; ``why`` is empty where a client asked for it."""
        with self._lock:
            if self._state is not None and self._state.get("connect") == prefix:
                self._state = None
            self._command(ended=prefix, why=why)

    def asleep(self, prefix: str, why: str) -> None:
        """The sandbox of the kernel at these sockets has ended, until a client asks for
        something: then :data:`WANTED` is said."""
        with self._lock:
            if self._state is not None and self._state.get("connect") == prefix:
                self._state = {"asleep": prefix, "why": why}
                self._command(**self._state)

    def refused(self, why: str) -> None:
        """No other could be started: answer so what clients have asked meanwhile."""
        with self._lock:
            if self._state is not None and "connect" in self._state:  # it was told of one
                self._state = {"asleep": self._state["connect"], "why": why}
                self._command(**self._state)
            self._command(refused=why)

    def note(self, text: str, *, now: bool = False, weight: int = ORDINARY) -> None:
        """Show ``text`` in the notebook: in the cell that runs, else in the next one; with ``now``
        where the last one has ended. Of many notes those of the lowest weight are told."""
        with self._lock:
            self._command(note=text, now=now, weight=weight)

    def close(self) -> None:
        """End it, and return when it has ended; a second call does nothing."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            process = self._process
            self._commands.end()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._follower.ident is not None:
            self._follower.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._directory.remove()

    def _link(self) -> None:
        """Have the sockets where clients look: a manager removes what is there at each restart, for
        a kernel makes it anew, and the relay stays."""
        for number in range(1, len(PORTS) + 1) if self._linked else ():
            with contextlib.suppress(FileExistsError):
                Path(f"{self.prefix}-{number}").symlink_to(f"{BOUND}-{number}")

    # -------- its process

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            isolated_python.command("moat_nb.jupyter.relay.__main__", PACKAGES),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={},  # the launcher's has secrets
            start_new_session=True,
            bufsize=0,
            pass_fds=[self._directory.lock],
        )

    def _listens(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.stdout is not None
        self._said = process.stdout.readline(TAIL)
        return self._said == b"listening\n"

    def _last_words(self) -> str:
        self._process.kill()
        return (self._said + _tail(self._process)).decode(errors="replace").strip()

    def _follow(self) -> None:
        """Until :meth:`close`: start it again when it has died."""
        pause = PAUSE_SECONDS
        while True:
            process = self._process
            tail = self._heard(process)
            process.wait()
            if self._closed.wait(pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            words = tail.decode(errors="replace")
            code = process.returncode
            logger.warning("the relay of a kernel's output ended (%s), and starts: %s", code, words)
            while not self._start_again(process):
                if self._closed.wait(pause):
                    return

    def _heard(self, process: subprocess.Popen[bytes]) -> bytes:
        """The end of what it writes, once it has ended; its words are passed on or answered."""
        assert process.stdout is not None
        tail = rest = b""
        while piece := process.stdout.read(TAIL):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line in WORDS:
                    self._pass_on(line.decode())
                elif line == NO_SPACE:
                    self._answer_what_is_full()
                else:
                    tail = (tail + line + b"\n")[-TAIL:]
            rest = rest[-TAIL:]
        return tail + rest

    def _pass_on(self, word: str) -> None:
        try:
            self.on_word(word)
        except Exception:
            # Whatever it meets, somebody must go on to hear the relay.
            logger.warning("what a relay said was not heard", exc_info=True)

    def _answer_what_is_full(self) -> None:
        try:
            words = self.no_space()
        except SandboxGone:
            words = ""
        with self._lock:
            self._command(space=words)

    def _start_again(self, dead: subprocess.Popen[bytes]) -> bool:
        """Another, which is told what it needs to know before it listens; False where there is no
        room for one."""
        assert self._options is not None and dead.stdout is not None
        try:
            process = self._started()
        except OSError as error:
            logger.warning("no relay of a kernel's output can be started: %s", error)
            return False
        dead.stdout.close()
        with self._lock:
            left = self._commands.left()
            self._commands.end()
            self._process, self._commands = process, Commands(process)
            if self._closed.is_set():
                self._commands.end()
                return True
            self._commands.begin(self._options.line())
            if self._state is not None:
                self._command(**self._state)
            self._command(note=STARTED_AGAIN)
            for note in filter(None, map(_as_note, left)):
                self._command(**note)
        self._listens(process)
        return True

    def _command(self, **command: Any) -> None:
        self._commands.put(command)


def _as_note(command: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the user should know of a command that a relay did not take; None for nothing."""
    if command.get("why") and "ended" in command:
        return {"note": f"the kernel before this one ended: {command['why']}"}
    return command if "note" in command else None


# ---------------------------------------------------------------- one ahead of need

_ahead: deque[RelayProcess] = deque()
"""At most one or two: it takes 80 ms to import what it needs, which a warm start has no time for.
No lock is held over it, which a forked child could inherit."""


def take(base: Path) -> RelayProcess:
    """The one that was made ahead of need, or a new one."""
    with contextlib.suppress(IndexError):
        while (relay := _ahead.popleft()).base != base or not relay.is_running():
            relay.close()
        return relay
    return RelayProcess(base)


def make_ahead(base: Path) -> None:
    """Have one ready for the next start of this process, which else makes its own."""
    if _ahead:
        return
    try:
        _ahead.append(RelayProcess(base))
    except (MoatError, OSError) as error:
        logger.info("no relay was made ahead of need: %s", error)


def close_ahead() -> None:
    """End what was made ahead of need."""
    with contextlib.suppress(IndexError):
        while True:
            _ahead.popleft().close()


atexit.register(close_ahead)
# A forked child must not hand out what its parent holds the stdin of.
os.register_at_fork(after_in_child=_ahead.clear)


def _tail(process: subprocess.Popen[bytes]) -> bytes:
    """The end of what it writes, once it has ended."""
    assert process.stdout is not None
    tail = b""
    while piece := process.stdout.read(TAIL):
        tail = (tail + piece)[-TAIL:]
    return tail
