"""What a relay's process is told, without a wait for it: a sandbox may keep it busy."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import subprocess
import sys
import termios
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from moat_nb.jupyter.relay.notes import MORE, ORDINARY
from moat_nb.jupyter.relay.options import command_line

__all__ = ["Commands"]

START_SECONDS = 60.0
"""For a process to take the first line: it imports what it needs before."""

TAKE_SECONDS = 30.0
"""For each further one. It looks between two messages, of which the slowest takes a second."""

LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.001, 0.05
"""Between two looks at whether it has; twofold each time."""

MAX_NOTES = 200
"""That wait for room in the pipe; of more those of the greatest weight are dropped."""

Command = dict[str, Any]


@dataclass(kw_only=True)
class _Waiting:
    """What was not taken yet."""

    command: Command | None
    """None for the first line, which says no more than how to begin."""
    line: bytes
    written: int = 0
    end: int = sys.maxsize
    """Of it among all bytes, once they are written."""

    @property
    def weight(self) -> int:
        """Of a note that may be dropped; others have a negative one."""
        is_note = self.command is not None and "note" in self.command and not self.written
        return int(self.command.get("weight", ORDINARY)) if is_note and self.command else -1


class Commands:
    """Those to one process, in their order: they are in its pipe at once if there is room. No
    method blocks. A process that takes nothing for :data:`TAKE_SECONDS` is killed."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        self._process = process
        self._pipe = process.stdin
        os.set_blocking(self._pipe.fileno(), False)
        self._waiting: deque[_Waiting] = deque()
        self._written = 0
        self._dropped = 0
        self._begun = False
        self._ends = False
        self._patience = START_SECONDS
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="moat-relay-commands", daemon=True).start()

    def begin(self, options: bytes) -> None:
        """The first line; what was put before comes behind it."""
        with self._changed:
            self._begun = True
            self._waiting.appendleft(_Waiting(command=None, line=options))
            self._offer()

    def put(self, command: Command) -> None:
        self._put(_Waiting(command=command, line=command_line(command)))

    def end(self) -> None:
        """Close the pipe behind what waits; the process ends then."""
        with self._changed:
            self._ends = True
            self._changed.notify()

    def left(self) -> list[Command]:
        """What was not taken, of a process that has ended."""
        with self._changed:
            return [one.command for one in self._waiting if one.command is not None]

    def _put(self, one: _Waiting) -> None:
        with self._changed:
            self._waiting.append(one)
            self._offer()
            notes = [other for other in reversed(self._waiting) if other.weight >= 0]
            if len(notes) > MAX_NOTES:  # of those that weigh as much the latest goes
                self._waiting.remove(max(notes, key=lambda note: note.weight))
                self._dropped += 1

    def _offer(self) -> None:
        if self._begun:
            with contextlib.suppress(OSError, ValueError):  # it has died
                self._write()
        self._changed.notify()

    def _write(self) -> None:
        """What there is room for; raises OSError when nobody reads any more."""
        for one in self._waiting:
            while one.written < len(one.line):
                try:
                    count = os.write(self._pipe.fileno(), one.line[one.written :])
                except BlockingIOError:
                    return
                one.written += count
                self._written += count
            one.end = min(one.end, self._written)

    def _run(self) -> None:
        with self._changed:
            with contextlib.suppress(OSError):  # it has died
                while self._has_work():
                    if not self._follow():
                        self._process.kill()
                        break
            self._pipe.close()

    def _has_work(self) -> bool:
        """Wait for something to be taken; False when no more comes."""
        while not (self._begun and self._waiting) and not self._ends:
            self._changed.wait()
        return self._begun and bool(self._waiting)

    def _follow(self) -> bool:
        """Until all is taken; whether it was."""
        taken, look, until = 0, LOOK_SECONDS, time.monotonic() + self._patience
        while self._waiting:
            self._write()
            before, taken = taken, self._written - _unread(self._pipe.fileno())
            if taken > before:
                look, until = LOOK_SECONDS, time.monotonic() + self._patience
            elif time.monotonic() > until or self._process.poll() is not None:
                return False
            while self._waiting and self._waiting[0].end <= taken:
                self._waiting.popleft()
                self._patience = TAKE_SECONDS
            if self._waiting:
                self._changed.wait(look)
                look = min(2 * look, LONGEST_LOOK_SECONDS)
        if self._dropped:
            count, self._dropped = self._dropped, 0
            self.put({"note": MORE.format(count=count)})
        return True


def _unread(descriptor: int) -> int:
    """The bytes in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]
