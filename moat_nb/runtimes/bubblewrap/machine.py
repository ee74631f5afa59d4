"""What the bubblewrap runtime must know of the machine, found once and passed as a value."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from moat_nb.host.cgroups import Place, find_place
from moat_nb.host.machine import Host
from moat_nb.host.package import PACKAGE
from moat_nb.planning.interpreter import SYSTEM
from moat_nb.runtimes.bubblewrap import etc

__all__ = ["NAMESPACES", "OUTSIDE", "BubblewrapFacts", "discover", "hint", "probe"]

PROBE_SECONDS = 1.0

NAMESPACES = (
    "--unshare-user",
    "--unshare-ipc",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-uts",
    "--unshare-cgroup-try",
)

OUTSIDE = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}
"""The whole environment of what runs outside the sandbox, bubblewrap among it. The sandbox's own
goes through ``--setenv``: a moat.yaml that sets LD_PRELOAD must not reach a program out here."""

_APPARMOR = (
    "AppArmor forbids user namespaces; allow bwrap: write 'abi <abi/4.0>, include "
    "<tunables/global> profile bwrap /usr/bin/bwrap flags=(unconfined) { userns, }' to "
    "/etc/apparmor.d/bwrap and run apparmor_parser -r /etc/apparmor.d/bwrap"
)
_SYSCTLS = {
    "kernel/apparmor_restrict_unprivileged_userns": ("1", _APPARMOR),
    "kernel/unprivileged_userns_clone": ("0", "run sysctl kernel.unprivileged_userns_clone=1"),
    "user/max_user_namespaces": ("0", "run sysctl user.max_user_namespaces=10000"),
}

Limiter: TypeAlias = Literal["systemd-run-user", "systemd-run-system", "cgroup", "none"]


@dataclass(frozen=True, kw_only=True)
class BubblewrapFacts:
    """Programs are absolute paths, None where they are missing."""

    machine: str
    """``os.uname().machine``."""
    bwrap: str | None
    version: tuple[int, ...] = ()
    prlimit: str | None = None
    setpriv: str | None = None
    unshare: str | None = None
    systemd_run: str | None = None
    limiter: Limiter = "none"
    """What limits memory; ``cgroup`` makes one at ``place`` itself."""
    limits_cpu: bool = False
    """Whether the limiter has a cpu controller."""
    place: Place | None = None
    """Where cgroups are made; None with every other limiter."""
    bus: tuple[tuple[str, str], ...] = ()
    """The variables by which ``systemd-run --user`` finds its bus."""
    system: tuple[tuple[str, str, str], ...] = ()
    """bubblewrap's words for the host's programs, libraries and chosen files of /etc."""
    package: str = str(PACKAGE)
    """Where the guest and the empty file lie."""

    @property
    def disable_userns(self) -> tuple[str, ...]:
        """The option that keeps a sandbox from nesting another, where bubblewrap has it."""
        return ("--disable-userns",) if self.version >= (0, 8) else ()


def discover(host: Host) -> BubblewrapFacts:
    """Look at the machine; runs ``bwrap --version`` and at most one ``systemd-run``."""
    bwrap, systemd_run = _program("bwrap"), _program("systemd-run")
    names = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
    bus = tuple((name, os.environ[name]) for name in names if name in os.environ)
    controllers = _controllers(systemd_run, host, dict(bus)) if systemd_run else frozenset()
    limits = {"memory", "pids"} <= controllers
    place = None if limits else find_place()
    limiter: Limiter = "systemd-run-user" if host.user.uid else "systemd-run-system"
    if not limits:
        limiter = "none" if place is None else "cgroup"
    return BubblewrapFacts(
        machine=os.uname().machine,
        bwrap=bwrap,
        version=_version(bwrap) if bwrap else (),
        prlimit=_program("prlimit"),
        setpriv=_program("setpriv"),
        unshare=_program("unshare"),
        systemd_run=systemd_run,
        limiter=limiter,
        limits_cpu=place.limits("cpu") if place else "cpu" in controllers,
        place=place,
        bus=bus if limits and host.user.uid else (),
        system=tuple(_system()),
    )


def _program(name: str) -> str | None:
    # Not the user's PATH: root's start runs these, and a venv must not stand in for the system.
    return shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin")


def _version(bwrap: str) -> tuple[int, ...]:
    """Empty when it cannot be told."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        words = _version_text(bwrap, Path(bwrap).stat().st_mtime_ns)
        return tuple(int(number) for number in re.findall(r"\d+", words))
    return ()


@functools.lru_cache(maxsize=1)
def _version_text(bwrap: str, changed: int) -> str:
    """Asked once, as it takes a tenth of a warm start; one that failed is asked again."""
    return _output([bwrap, "--version"], {})


def _output(argv: list[str], env: dict[str, str]) -> str:
    """What ``argv`` printed; raises when it failed or took longer than PROBE_SECONDS."""
    return subprocess.run(
        argv, env=env, capture_output=True, check=True, text=True, timeout=PROBE_SECONDS
    ).stdout


def _controllers(systemd_run: str, host: Host, bus: dict[str, str]) -> frozenset[str]:
    """The controllers that are in force in a scope of systemd's, by making one and looking."""
    if not Path("/run/systemd/system").is_dir():
        return frozenset()
    level = ["--user"] if host.user.uid else []
    properties = ["-p", "MemoryMax=64M", "-p", "TasksMax=32", "-p", "CPUQuota=50%"]
    look = "cat /sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)/cgroup.controllers"
    argv = [systemd_run, *level, "--scope", "--quiet", "--collect", *properties]
    path = {"PATH": "/usr/bin:/bin"}
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return frozenset(_output([*argv, "/bin/sh", "-c", look], {**path, **bus}).split())
    return frozenset()


def _system() -> Iterator[tuple[str, str, str]]:
    yield "--ro-bind", "/usr", "/usr"
    for path in SYSTEM[1:]:
        if os.path.islink(path):  # noqa: PTH114 - text in, text out: these are words, not files
            yield "--symlink", os.readlink(path), path  # noqa: PTH115
        elif Path(path).is_dir():
            yield "--ro-bind", path, path
    for path in etc.shown():
        yield "--ro-bind", path, path


def probe(drop: list[str], facts: BubblewrapFacts) -> str:
    """Why bubblewrap cannot make a sandbox here; empty when it can."""
    binds = [
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--size",
        "4096",
        "--tmpfs",
        "/tmp",
    ]
    argv = [*drop, facts.bwrap or "bwrap", *NAMESPACES, *facts.disable_userns, *binds, "true"]
    try:
        done = subprocess.run(
            argv, env=OUTSIDE, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def hint() -> str:
    for name, (forbidden, hint) in _SYSCTLS.items():
        with contextlib.suppress(OSError):
            if Path("/proc/sys", name).read_text().strip() == forbidden:
                return hint
    return "bubblewrap needs unprivileged user namespaces and a /proc that nothing covers"
