"""The attach stream of a sandbox of bubblewrap's, and what its cgroup says of its memory."""

from __future__ import annotations

import os
import subprocess

from moat_nb.host.cgroups import Cgroup, cgroup_of
from moat_nb.planning.limits import MIB
from moat_nb.runtimes.pipes import PipeStream

__all__ = ["SandboxStream"]


class SandboxStream(PipeStream):
    """``cgroup``: the sandbox's own; None where systemd makes one, or where there is none.
    ``limit``: of its memory, in bytes."""

    def __init__(self, process: subprocess.Popen[bytes], cgroup: Cgroup | None, limit: int) -> None:
        super().__init__(process)
        self._cgroup = cgroup
        self._limit = limit
        self._told = 0

    def lacked_memory(self) -> bool:
        before, self._told = self._told, self._kills()
        return self._told > before

    @property
    def memory(self) -> int | None:
        found = self._found()
        return None if found is None else found.memory_used

    def last_words(self) -> str:
        words = super().last_words()
        if self._kills() == 0:
            return words
        limit = f"container.memory, {self._limit // MIB} MiB"
        return f"{words}; the memory limit was reached ({limit})"

    def _kills(self) -> int:
        found = self._found()
        return 0 if found is None else found.oom_kills

    def _found(self) -> Cgroup | None:
        """Not one that others share with it: a scope of systemd's is known once it is made."""
        if self._cgroup is None:
            theirs = cgroup_of(self.pid)
            self._cgroup = None if theirs == cgroup_of(os.getpid()) else theirs
        return self._cgroup
