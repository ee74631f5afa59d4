"""What a relay's process is told, without a wait for it: a sandbox may keep it busy."""

from __future__ import annotations

import array
import fcntl
import os
import select
import subprocess
import termios
import threading
import time
from collections import deque
from typing import Any

from moat_nb.jupyter.relay.notes import MORE, ORDINARY
from moat_nb.jupyter.relay.options import command_line

__all__ = ["Commands"]

START_SECONDS = 60.0
"""For a process to take the first line: it imports what it needs before."""

TAKE_SECONDS = 10.0
"""For each further one. It looks between two messages, of which the slowest takes a second."""

LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.001, 0.05
"""Between two looks at whether it has; twofold each time."""

MAX_NOTES = 200
"""That wait to be taken; of more those of the greatest weight are dropped."""

Command = dict[str, Any]


class Commands:
    """Those to one process, in their order. No method blocks. A process that takes none for
    :data:`TAKE_SECONDS` is killed."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        self._process = process
        self._pipe = process.stdin
        os.set_blocking(self._pipe.fileno(), False)
        self._waiting: deque[bytes | Command | None] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="moat-relay-commands", daemon=True).start()

    def begin(self, options: bytes) -> None:
        """The first line."""
        self._put(options)

    def put(self, command: Command) -> None:
        with self._changed:
            self._put(command)
            # The first may be on its way. Of those that weigh as much the latest goes.
            others = list(self._waiting)[:0:-1]
            notes = [one for one in others if isinstance(one, dict) and "note" in one]
            if len(notes) > MAX_NOTES:
                self._waiting.remove(max(notes, key=lambda note: note.get("weight", ORDINARY)))
                self._dropped += 1

    def end(self) -> None:
        """Close the pipe behind what waits; the process ends then."""
        self._put(None)

    def left(self) -> list[Command]:
        """What was not taken, of a process that has ended."""
        with self._changed:
            return [one for one in self._waiting if isinstance(one, dict)]

    def _put(self, item: bytes | Command | None) -> None:
        with self._changed:
            self._waiting.append(item)
            self._changed.notify()

    def _run(self) -> None:
        patience = START_SECONDS
        try:
            while (item := self._next()) is not None:
                line = command_line(item) if isinstance(item, dict) else item
                if not self._taken(line, patience):
                    self._process.kill()
                    return
                patience = TAKE_SECONDS
                with self._changed:
                    self._waiting.popleft()
                    if self._dropped and not self._waiting:
                        self._put({"note": MORE.format(count=self._dropped)})
                        self._dropped = 0
        except OSError:  # it has died
            pass
        finally:
            self._pipe.close()

    def _next(self) -> bytes | Command | None:
        """The first that waits, which stays there until it was taken."""
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            return self._waiting[0]

    def _taken(self, line: bytes, patience: float) -> bool:
        """Whether the process has read all of it, and for so long took something again and
        again."""
        descriptor = self._pipe.fileno()
        unread, look, until = 0, LOOK_SECONDS, time.monotonic() + patience
        while line or unread:
            before, unread = unread, _unread(descriptor)
            if line and select.select([], [descriptor], [], 0)[1]:
                written = os.write(descriptor, line)
                line, unread = line[written:], unread + written
                continue
            if unread < before:
                until = time.monotonic() + patience
            elif time.monotonic() > until or self._process.poll() is not None:
                return False
            time.sleep(look)
            look = min(2 * look, LONGEST_LOOK_SECONDS)
        return True


def _unread(descriptor: int) -> int:
    """The bytes in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]
