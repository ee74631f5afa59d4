"""The sandbox's own virtual environment, over the packages of the image or the host.

Those are read-only; here ``pip``, ``uv pip``, ``npm -g`` and R's ``install.packages`` write, and
from here kernels import and programs run. It lies in HOME, so it lasts as long as the sandbox.
"""

from __future__ import annotations

import importlib
import os
import site
import sys
import time
from typing import Any, Callable, Dict, List, Mapping

from . import protocol

LIB = "lib/python%d.%d/site-packages" % sys.version_info[:2]
BELOW = "_below.pth"
"""The file by which an interpreter that starts here finds the packages below."""

INFO = ".dist-info"
"""The end of the name of a directory that says what a package is."""
LOOK_SECONDS = 2.0
MOST = 2000
"""Packages that are told of."""

PIP = '#!/bin/sh\nexec "${0%/*}/python3" -m pip "$@"\n'


def make(directory: str, environ: Mapping[str, str]) -> Dict[str, str]:
    """Make it; the variables by which programs find it, or none where it cannot be made."""
    try:
        _fill(directory)
    except OSError:
        return {}
    path = environ.get("PATH", os.defpath)
    return {
        "PATH": os.path.join(directory, "bin") + os.pathsep + path,
        "VIRTUAL_ENV": directory,
        "NPM_CONFIG_PREFIX": environ.get("NPM_CONFIG_PREFIX", directory),
        "R_LIBS_USER": environ.get("R_LIBS_USER", os.path.join(directory, "lib/R")),
        # What it keeps would take the room of HOME a second time, and is gone with it.
        "PIP_NO_CACHE_DIR": environ.get("PIP_NO_CACHE_DIR", "1"),
        "PIP_DISABLE_PIP_VERSION_CHECK": environ.get("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    }


def _fill(directory: str) -> None:
    os.mkdir(directory)  # nothing that is there already is written to
    for part in ("bin", LIB, "lib/R"):
        os.makedirs(os.path.join(directory, part))
    base = getattr(sys, "_base_executable", None) or sys.executable
    below = _of_parent()
    _write(
        os.path.join(directory, "pyvenv.cfg"),
        "home = %s\ninclude-system-site-packages = %s\nversion = %d.%d.%d\n"
        # Any word but "true" says no, and at "false" pip refuses `--user`.
        % (os.path.dirname(base), "no" if below else "true", *sys.version_info[:3]),
    )
    for name in ("python", "python3", "python%d.%d" % sys.version_info[:2]):
        os.symlink(base, os.path.join(directory, "bin", name))
    for name in ("pip", "pip3"):
        _write(os.path.join(directory, "bin", name), PIP)
        os.chmod(os.path.join(directory, "bin", name), 0o755)
    if below:
        line = (
            "import site, sys; site.ENABLE_USER_SITE = site.check_enableusersite(); "
            "site.addusersitepackages(None); "
            "[*map(site.addsitedir, filter(lambda p, s=sys: p not in s.path, %r))]\n"
        )
        _write(os.path.join(directory, LIB, BELOW), line % below)
    _make_user_site(os.path.dirname(directory))


def _make_user_site(home: str) -> None:
    """Have where `pip install --user` puts things be on the path of who starts before that; not in
    a mount, which is somebody else's."""
    place = first = os.path.join(home, ".local", LIB)
    while not os.path.lexists(first):
        first = os.path.dirname(first)
    if os.stat(first).st_dev == os.stat(home).st_dev:
        os.makedirs(place, mode=0o700, exist_ok=True)


def _of_parent() -> List[str]:
    """The packages of the virtual environment that the guest runs in, if it does in one."""
    if sys.prefix == sys.base_prefix:
        return []
    # Debian's Python names places that none of its environments has.
    return [path for path in site.getsitepackages() if os.path.isdir(path)]


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


# ---------------------------------------------------------------- what was installed


class Installed:
    """Notices what is installed there, at a look each :data:`LOOK_SECONDS`."""

    def __init__(self, directory: str) -> None:
        self.packages = os.path.join(directory, LIB)
        self.seen = self.told = self.changed()
        self.next_look = 0.0

    def due(self) -> float:
        """Seconds until the next look; 0 when it is time."""
        return max(0.0, self.next_look - time.monotonic())

    def changed(self) -> int:
        """When something was installed or removed last."""
        try:
            return os.stat(self.packages).st_mtime_ns
        except OSError:
            return 0

    def tell_changes(self, send: Callable[..., None]) -> None:
        """Send what there is, once it has been the same for one look: pip takes its time."""
        self.next_look = time.monotonic() + LOOK_SECONDS
        before, self.seen = self.seen, self.changed()
        if self.seen == before != self.told:
            self.told = self.seen
            send(protocol.INSTALLED, packages=self.look())

    def look(self) -> List[List[Any]]:
        found: List[List[Any]] = []
        try:
            names = sorted(os.listdir(self.packages))
        except OSError:
            return found
        for name in names:
            if name.endswith(INFO) and len(found) < MOST:
                asked = os.path.exists(os.path.join(self.packages, name, "REQUESTED"))
                found.append([name[: -len(INFO)], asked])
        return found


# ---------------------------------------------------------------- a forked kernel


def shadows(environ: Mapping[str, str]) -> bool:
    """Whether a module or package was installed in place of one that this process has imported;
    what a ``.pth`` leads to is not looked at."""
    try:
        names = os.listdir(os.path.join(environ["VIRTUAL_ENV"], LIB))
    except (KeyError, OSError):
        return False
    return any(name.partition(".")[0] in sys.modules for name in names)


def enter(environ: Mapping[str, str]) -> None:
    """Import, and start further interpreters, as one does that starts there. ``sys.prefix`` and
    what was made of it stay those of the guest."""
    directory = environ.get("VIRTUAL_ENV", "")
    packages = os.path.join(directory, LIB)
    if directory and os.path.isdir(packages):
        sys.executable = os.path.join(directory, "bin/python3")
        before = list(sys.path)
        site.addsitedir(packages)
        added = [path for path in sys.path if path not in before]
        below = set(site.getsitepackages())
        first = next((n for n, path in enumerate(before) if path in below), len(before))
        sys.path[:] = [*before[:first], *added, *before[first:]]
    if site.ENABLE_USER_SITE:
        site.addusersitepackages(set(sys.path))
    importlib.invalidate_caches()
