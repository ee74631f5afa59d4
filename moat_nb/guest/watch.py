"""The watch over the excludes, once they are proved: which are lost, and what the rest hold."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Sequence, Tuple

from .mountinfo import mount_table
from .proof import measure

SECONDS = 2.0
"""A renamed parent moves a mount without any event, so the excludes are also looked at now and
then."""
SHARE, LONGEST = 50, 10.0
"""How many times as long as a look took is waited after it, and at most for how long: a look at
thousands of excludes takes a tenth of a second."""


class Watch:
    def __init__(self) -> None:
        self.proved: Dict[str, Tuple[int, int]] = {}
        self.next_look = 0.0

    def begin(self, paths: Sequence[str]) -> None:
        """Take what is at ``paths`` now for what is to stay there."""
        self.proved = {path: identity(path) for path in paths}

    def due(self) -> float:
        """Seconds until the next look; 0 when it is time."""
        return max(0.0, self.next_look - time.monotonic())

    def look(self) -> List[str]:
        """The paths that are lost since the last look; each is told once."""
        begun = time.monotonic()
        try:
            return self._lost()
        finally:
            ended = time.monotonic()
            self.next_look = ended + min(LONGEST, max(SECONDS, SHARE * (ended - begun)))

    def _lost(self) -> List[str]:
        # gVisor undoes a mount whose directory the host removed when it is next looked at, and
        # the table says nothing of it before; so look, and then read.
        shown = {path for path, proved in self.proved.items() if shows(path, proved)}
        lost = sorted(set(self.proved) - (shown & set(mount_table())))
        for path in lost:
            del self.proved[path]
        return lost

    def use(self) -> List[Dict[str, Any]]:
        """Bytes that each directory has and uses, without those that cannot be read."""
        found = []
        for path in sorted(self.proved):
            if os.path.isfile(path):
                continue
            try:
                found.append(dict(measure(path), path=path))
            except OSError:
                continue
        return found


def identity(path: str) -> Tuple[int, int]:
    """Which file or directory is at ``path``: no other has these two numbers while it exists."""
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def shows(path: str, proved: Tuple[int, int]) -> bool:
    """Whether what was proved at ``path`` is still there."""
    try:
        return identity(path) == proved
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # a kernel closed a directory on the way, which is its own to close
