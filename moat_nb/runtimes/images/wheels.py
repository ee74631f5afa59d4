"""Wheels for an image, fetched by the host's pip and installed without a network.

The host's pip knows the user's proxies, certificates, indexes and cache; the pip inside a build
knows none of them. So a probe asks the image for its interpreter, the host's pip downloads for
that one, and the build installs from files.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from moat_nb.errors import ImageError

if TYPE_CHECKING:
    from moat_nb.text.progress import Progress

__all__ = ["TAIL_LINES", "Target", "download"]

TAIL_LINES = 30
"""Lines of a failed program's own output that an error shows."""

# pip takes a target's tags as options but evaluates environment markers for the interpreter it
# runs on, so `exceptiongroup; python_version < "3.11"` would be left out by a host with 3.12.
# The watch of stdin ends a download whose launcher died. The working directory leaves sys.path,
# since it is a notebook's and may hold a json.py of its own.
_PIP = """\
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import json, os, runpy, threading
from pip._vendor.packaging import markers
target = json.loads(sys.argv.pop(1))
markers.default_environment = lambda: dict(target)
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""

# The glibc of each manylinux name from before PEP 600, as (2, minor).
_LEGACY_MANYLINUX = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}


@dataclass(frozen=True, kw_only=True)
class Target:
    """The interpreter that wheels must fit: an image's ``python3``."""

    libc: Literal["glibc", "musl"]
    libc_version: tuple[int, int]
    abi: str
    """As in a wheel's name: ``cp311``, ``cp313t``."""
    markers: dict[str, str] = field(hash=False)
    """PEP 508's environment, whole."""
    ipykernel: str | None = None
    """The version of the ipykernel that imports there already."""

    @property
    def python(self) -> str:
        """``X.Y``."""
        return self.markers["python_version"]

    @property
    def release(self) -> str:
        """``X.Y.Z``, without what marks a pre-release, which pip's option does not take."""
        return re.sub(r"[^\d.].*", "", self.markers["python_full_version"])

    @property
    def machine(self) -> str:
        return self.markers["platform_machine"]

    def __str__(self) -> str:
        major, minor = self.libc_version
        return f"Python {self.python} on {self.machine} with {self.libc} {major}.{minor}"

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags whose wheels run there, best first.

        All are spelled out because pip does not conclude from one glibc to the older ones.
        """
        major, newest = self.libc_version
        if self.libc == "musl":
            names = [f"musllinux_{major}_{minor}" for minor in range(newest, -1, -1)]
        else:
            names = list(_manylinux(newest))
        return tuple(f"{name}_{self.machine}" for name in (*names, "linux"))


def _manylinux(newest: int) -> Iterator[str]:
    legacy = {minor: name for name, minor in _LEGACY_MANYLINUX.items()}
    for minor in range(newest, min(legacy) - 1, -1):
        yield f"manylinux_2_{minor}"
        if minor in legacy:
            yield legacy[minor]


def download(
    requirements: Sequence[str],
    target: Target,
    destination: Path,
    progress: Progress,
    executable: str = sys.executable,
) -> None:
    """Put wheels of ``requirements`` and of all they need into ``destination``.

    Uses the pip of ``executable``. Raises ImageError with pip's own words. What a pip that was
    killed leaves is in ``destination`` too.
    """
    destination.mkdir(exist_ok=True)
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with subprocess.Popen(
        _command(requirements, target, destination, executable),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(destination)},
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                progress.log(line)
                # pip warns of every index that lacks a package, which is what several are for.
                if not line.startswith("WARNING: Location"):
                    tail.append(line.rstrip())
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise ImageError(_failure("\n".join(tail), target, executable))


def _command(
    requirements: Sequence[str], target: Target, destination: Path, executable: str
) -> list[str]:
    return [
        executable,
        "-c",
        _PIP,
        json.dumps(target.markers),
        "download",
        "--only-binary=:all:",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar=off",
        f"--dest={destination}",
        f"--python-version={target.release}",
        "--implementation=cp",
        f"--abi={target.abi}",
        *(f"--platform={name}" for name in target.platforms),
        "--",
        *requirements,
    ]


def _failure(words: str, target: Target, executable: str) -> str:
    if "No module named 'pip'" in words:
        return (
            f"{executable} has no pip, which fetches the image's wheels; "
            f"run {executable} -m ensurepip"
        )
    return (
        f"wheels for {target} could not be fetched; pip of {executable} says:\n{words}\n"
        "Only wheels are installed. For a package without one: make a wheel with `pip wheel` "
        "and name its directory in PIP_FIND_LINKS, install it by hooks.post_build_root, or use a "
        "base_image that has it"
    )
