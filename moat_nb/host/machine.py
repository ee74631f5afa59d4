"""The machine's facts that a plan needs, read once and passed as a value."""

from __future__ import annotations

import os
import re
import site
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from moat_nb.host.certificates import bundle_files

__all__ = ["MOAT_USER", "Host", "User", "run_directories", "timezone"]


@dataclass(frozen=True)
class User:
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


_ZONE = re.compile(r"[A-Za-z0-9_+/.,:<>-]{1,100}")
"""A zone's name, or a rule such as ``CET-1CEST,M3.5.0,M10.5.0/3``."""

MOAT_USER = User(5000, 5000)
"""Moat's ``moatuser``: a kernel runs as it when launcher and workspace are root's."""


@dataclass(frozen=True, kw_only=True)
class Host:
    user: User
    """The launcher's user."""
    home: Path
    data_dir: Path
    """Where bind volumes persist: ``$XDG_DATA_HOME/moat-nb``."""
    memory: int
    """Bytes of RAM."""
    cpus: int | None = None
    """None where that is not known."""
    executable: str
    """The launcher's python, which bubblewrap's kernels run on."""
    prefixes: tuple[str, ...]
    """The directories that interpreter needs: its venv, and the installation it was made from."""
    environment: tuple[str, ...] = ()
    """Directories and files that interpreter runs code from as it starts (a ``.pth``)."""
    trust: tuple[str, ...] = ()
    """Paths of the files with the host's trusted certificates."""
    run_directories: tuple[Path, ...] = ()
    """See :func:`run_directories`."""
    timezone: str = ""
    """The launcher's, as ``TZ`` has it; empty for UTC, and where it cannot be told."""

    @property
    def approvals(self) -> Path:
        """Where it is kept what files may ask of this machine."""
        return self.data_dir / "approvals"

    @property
    def caches(self) -> Path:
        """Where each project's sandboxes keep what ``kernel.cache`` names."""
        return Path(os.path.realpath(self.data_dir), "caches")

    @property
    def workspaces(self) -> Path:
        """Where the copies are that ``workspace.mode: volume`` makes of projects."""
        return Path(os.path.realpath(self.data_dir), "workspaces")

    @classmethod
    def current(cls) -> Host:
        home = Path.home()
        data_home = os.environ.get("XDG_DATA_HOME") or home / ".local" / "share"
        data_dir = Path(data_home) / "moat-nb"
        return cls(
            user=User(os.getuid(), os.getgid()),
            home=home,
            data_dir=data_dir,
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            cpus=os.cpu_count(),
            # sys.prefix is made from it. A client may have started it as ../.venv/bin/python.
            executable=os.path.abspath(sys.executable),  # noqa: PTH100 - a link must stay
            prefixes=_prefixes(),
            environment=_environment(data_dir),
            trust=bundle_files(os.environ),
            run_directories=run_directories(os.environ, os.getuid()),
            timezone=timezone(os.environ),
        )


def run_directories(environ: Mapping[str, str], uid: int) -> tuple[Path, ...]:
    """Directories where a user's sandboxes may have their sockets and logs, the best first."""
    last = Path(f"/tmp/moat-nb-{uid}")
    if uid == 0:
        # /run/user/0 is closed to the uid that root's kernels run as.
        return Path("/run/moat-nb"), last
    if run := environ.get("XDG_RUNTIME_DIR"):
        return Path(run) / "moat-nb", last
    return (last,)


def timezone(environ: Mapping[str, str], localtime: str = "/etc/localtime") -> str:
    """See :attr:`Host.timezone`. A path is told by the zone that it leads to: inside, and in
    another image, that file may not be there."""
    given = environ.get("TZ", "").removeprefix(":")
    if given and not given.startswith("/"):
        return given if _ZONE.fullmatch(given) else ""
    zone = os.path.realpath(given or localtime).partition("/zoneinfo/")[2]
    for prefix in ("posix/", "right/"):
        zone = zone.removeprefix(prefix)
    return zone if _ZONE.fullmatch(zone) and zone not in ("UTC", "Etc/UTC") else ""


def _prefixes() -> tuple[str, ...]:
    # The package's own parent is left out: an editable install's parent is the whole checkout,
    # and the sandbox needs the guest alone, which is bound by itself.
    return tuple(dict.fromkeys((sys.prefix, sys.base_prefix)))


def _environment(data_dir: Path) -> tuple[str, ...]:
    """As they are named, and where they are: a link in a workspace could be replaced, too.

    None that holds ``data_dir`` (a Python of ``~/.local``), whose volumes are to be written to.
    """
    own = (f"{sys.prefix}/pyvenv.cfg", f"{sys.prefix}/bin")
    paths = [*_prefixes(), *own, *site.getsitepackages()]
    paths += [os.path.dirname(os.__file__)]  # noqa: PTH120 - the standard library
    if site.ENABLE_USER_SITE and site.USER_SITE:
        paths.append(site.USER_SITE)
    found: dict[str, None] = {}
    for path in map(Path, paths):
        found[str(Path(os.path.realpath(path.parent)) / path.name)] = None
        found[os.path.realpath(path)] = None
    kept = os.path.realpath(data_dir)
    return tuple(path for path in found if not Path(kept).is_relative_to(path))
