"""What a sandbox left behind: containers, processes, and directories."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from moat_nb.host.cgroups import PREFIX
from moat_nb.host.run_directory import base_directory, sandbox_states

if TYPE_CHECKING:
    from tests.conftest import Engine


def cgroups(id: str) -> list[str]:
    """A sandbox's, wherever they lie."""
    return [
        f"{directory}/{PREFIX}{id}"
        for directory, names, _ in os.walk("/sys/fs/cgroup")
        if f"{PREFIX}{id}" in names
    ]


def run_directories() -> set[Path]:
    """Of sandboxes alone: a relay's goes with its client, and has no word of whose it is."""
    base = base_directory(os.environ, os.getuid())
    return {run_dir.path for run_dir, _ in sandbox_states(base)}


@dataclass
class Watch:
    """Remembers what is there before a project's sandbox starts."""

    project: Path
    _before: set[Path] = field(default_factory=run_directories)

    def left(self, engine: Engine | None, *, seconds: float) -> list[str]:
        """What is there now that a sandbox of this project made, after ``seconds`` at the most."""
        give_up = time.monotonic() + seconds
        # One that comes later is somebody else's, whose start has not written its note yet.
        new = run_directories() - self._before
        while True:
            found = [*self._containers(engine), *self._processes(), *self._directories(new)]
            # Another worker's sandbox has its directory as long as its cgroup.
            gone = [path for path in new if not path.exists()]
            found += [f"cgroup {at}" for path in gone for at in cgroups(path.name)]
            if not found or time.monotonic() > give_up:
                return found
            time.sleep(0.1)

    def _containers(self, engine: Engine | None) -> Iterator[str]:
        if engine is not None:
            filters = {"label": f"moat.nb.project={self.project}"}
            for container in engine.client.api.containers(all=True, filters=filters):
                yield f"container {container['Names']} {container['Status']}"

    def _processes(self) -> Iterator[str]:
        """Every process in a mount namespace of its own where the project is mounted."""
        here = Path("/proc/self/ns/mnt").readlink()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "ns" / "mnt").readlink() == here:
                    continue
                mounts = (process / "mountinfo").read_text(errors="replace")
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:
                continue
            if self.project.parent.name in mounts:
                yield f"process {process.name}: {words[:200]!r}"

    def _directories(self, new: set[Path]) -> Iterator[str]:
        for path in new:
            if not path.is_dir():
                continue
            try:
                note = json.loads((path / "sandbox.json").read_text())
            except (OSError, ValueError):
                note = {"project": str(self.project)}
            if note["project"] == str(self.project):
                yield f"directory {path}"
