"""A sandbox's directory on the host: its sockets, its logs, and its state.

    BASE/                    one per user, closed to everyone else
      3f9c01ab/              one per sandbox, removed with it
        sandbox.json         its state, which `moat-nb ps` shows
        log                  stdout and stderr of the kernels, bounded
        NAME.log             the same of each service
        requests             the log of network requests, bounded
        s/                   the sockets of kernels and of ports; the sandbox sees this directory
        etc/                 passwd and group of the sandbox
        n/                   the proxy's socket, if there is one; read-only in the sandbox
      images/                what is known of images, until the next boot
      engines/1f96d97e       a socket that leads to an engine on another machine
      relay-5e0d7a21/        the sockets that a client connects to; no sandbox sees it

The paths are short because a unix socket's path may have 107 bytes at most.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from moat_nb.errors import StartError
from moat_nb.host.cgroups import remove_named
from moat_nb.host.cleanup import in_use, remove_mount_point, remove_tree
from moat_nb.host.machine import User, run_directories
from moat_nb.host.reaper import Reaper

__all__ = [
    "IMAGES",
    "ClientDirectory",
    "Made",
    "Owner",
    "RunDir",
    "SandboxState",
    "base_directory",
    "is_alive",
    "make_base",
    "sandbox_states",
    "sweep",
]

CLIENTS = "relay-"
IMAGES = "images"
PROXY_SOCKET, CERTIFICATES = "proxy", "ca.pem"
SOCKET_PATH_LIMIT = 107
LONGEST_SOCKET = len("/12345678/s/123456-5")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Identifies a process across PID reuse (pid, start time, boot id)."""

    pid: int
    start: str
    """Start time: clock ticks since boot on Linux, elsewhere seconds since 1970."""
    boot: str

    @classmethod
    def of(cls, pid: int) -> Owner | None:
        """None when there is no such process."""
        try:
            status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None if sys.platform == "linux" else cls._of_psutil(pid)
        # The command's name, in parentheses, may hold anything, so count from its end.
        return cls(pid=pid, start=status.rpartition(")")[2].split()[19], boot=boot)

    @classmethod
    def _of_psutil(cls, pid: int) -> Owner | None:
        import psutil

        try:
            start = psutil.Process(pid).create_time()
        except psutil.Error:
            return None
        return cls(pid=pid, start=f"{start:.2f}", boot=f"{psutil.boot_time():.0f}")

    @property
    def alive(self) -> bool:
        return Owner.of(self.pid) == self

    def __str__(self) -> str:
        return f"{self.pid}:{self.start}:{self.boot}"


def is_alive(owner: str) -> bool:
    """Whether the process is there that was written down as ``owner``."""
    pid, _, _ = owner.partition(":")
    return pid.isdigit() and str(Owner.of(int(pid))) == owner


class Made(NamedTuple):
    """A mount point that a start made: ``root/relative``, and its inode."""

    root: str
    relative: str
    device: int
    inode: int


@dataclass(frozen=True, kw_only=True)
class SandboxState:
    """A live sandbox's state on disk, for other processes of the same user."""

    id: str
    name: str
    project: str
    runtime: str
    image: str | None
    container: str
    engine: str = ""
    """The address of one that is elsewhere."""
    started: float
    """Seconds since the epoch."""
    owner: Owner
    covers: tuple[str, ...] = ()
    """Host paths below its mounts."""
    made: tuple[Made, ...] = ()
    """Those of ``covers``, and directories above them, that a start made."""
    services: tuple[str, ...] = ()
    """The names of its sidecars."""
    spare: bool = False
    """It waits in its launcher's pool for a start."""
    since: float = 0.0
    """From when on what changes may be the sandbox's doing: ``started``, of a spare later."""
    writable: tuple[str, ...] = ()
    """Host directories that it can write to."""
    unseen: tuple[str, ...] = ()
    """Host paths in them that it does not see."""
    protect: tuple[str, ...] = ()
    """Names beside the usual ones that are protected, relative to each of ``writable``."""
    held: tuple[str, ...] = ()
    """Host paths in ``writable`` that mounts of their own keep it from renaming."""
    copy: str = ""
    """The host directory of the copy that it works on; empty where it has the project's own."""
    file: str = ""
    """The moat.yaml that it was started from."""
    digest: str = ""
    """Of that file's bytes then."""
    ports: tuple[tuple[str, str], ...] = ()
    """By name the URL of each of its ports."""


@dataclass(frozen=True)
class RunDir:
    path: Path

    @property
    def sockets(self) -> Path:
        return self.path / "s"

    @property
    def network(self) -> Path:
        return self.path / "n"

    @property
    def proxy_socket(self) -> Path:
        return self.network / PROXY_SOCKET

    @property
    def certificates(self) -> Path:
        """Of whom programs inside trust."""
        return self.network / CERTIFICATES

    @property
    def accounts(self) -> Path:
        return self.path / "etc"

    def write_accounts(self, passwd: str, group: str) -> None:
        """For whoever reads them inside; StartError."""
        try:
            self.accounts.mkdir(mode=0o711)
            for name, text in (("passwd", passwd), ("group", group)):
                (self.accounts / name).write_text(text)
                (self.accounts / name).chmod(0o644)  # whatever the umask is
        except OSError as error:
            raise StartError(f"{self.accounts}: cannot be made: {error.strerror}") from error

    @property
    def requests(self) -> Path:
        return self.path / "requests"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def installed(self) -> Path:
        """What was installed in the sandbox; see ``sandbox/installed.py``."""
        return self.path / "installed"

    def service_log(self, name: str) -> Path:
        return self.path / f"{name}.log"

    @classmethod
    def make(cls, base: Path, kernel_user: User, reaper: Reaper) -> RunDir:
        """Make one sandbox's directories, after telling the reaper; StartError."""
        run_dir = cls(base / secrets.token_hex(4))
        reaper.directory(str(run_dir.path))
        try:
            make_base(base)
            # Kernels of another user must reach s/, and see nothing beside it.
            run_dir.path.mkdir()
            run_dir.path.chmod(0o711)  # a umask of 077 would take it from mkdir's mode
            run_dir.sockets.mkdir(mode=0o700)
            if os.getuid() == 0:
                os.chown(run_dir.sockets, kernel_user.uid, kernel_user.gid)
        except OSError as error:
            raise StartError(f"{run_dir.path}: cannot be made: {error.strerror}") from error
        return run_dir

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def state_file(self) -> Path:
        return self.path / "sandbox.json"

    def write_state(self, sandbox_state: SandboxState) -> None:
        """Replace the state file in one step: others read it at any time."""
        new = self.path / "sandbox.new"
        new.write_text(json.dumps(asdict(sandbox_state)))
        new.replace(self.state_file)

    def write_installed(self, text: str) -> None:
        new = self.path / "installed.new"
        new.write_text(text)
        new.replace(self.installed)

    def read_state(self) -> SandboxState:
        """OSError, ValueError, TypeError or KeyError when the state file is missing or broken."""
        fields = json.loads(self.state_file.read_text())
        fields["owner"] = Owner(**fields["owner"])
        fields["covers"] = tuple(fields["covers"])
        for name in ("services", "writable", "unseen", "protect", "held"):
            fields[name] = tuple(fields.get(name, ()))
        fields["ports"] = tuple((name, url) for name, url in fields.get("ports", ()))
        fields["made"] = tuple(Made(*made) for made in fields["made"])
        return SandboxState(**fields)


@dataclass(frozen=True, kw_only=True)
class ClientDirectory:
    """Where one relay listens for its clients."""

    path: Path
    lock: int
    """A descriptor that holds the directory's lock: who has it, or inherits it, keeps it."""

    @classmethod
    def make(cls, base: Path) -> ClientDirectory:
        """StartError when it cannot be made."""
        path = base / f"{CLIENTS}{secrets.token_hex(4)}"
        try:
            make_base(base)
            path.mkdir(mode=0o700)
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise StartError(f"{path}: cannot be made: {error.strerror}") from error
        return cls(path=path, lock=lock)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def base_directory(environ: Mapping[str, str], uid: int) -> Path:
    """The directory of this user's sandboxes.

    StartError when no path is short enough; on Linux /tmp's always is.
    """
    candidates = run_directories(environ, uid)
    for base in candidates:
        fits = len(os.fsencode(base)) + LONGEST_SOCKET <= SOCKET_PATH_LIMIT
        if fits and os.access(base.parent, os.W_OK):
            return base
    raise StartError(f"no directory for sockets: tried {', '.join(map(str, candidates))}")


def make_base(base: Path) -> None:
    """Make the directory if it is missing; StartError when it is somebody else's."""
    base.mkdir(mode=0o711, exist_ok=True)
    status = base.lstat()
    # In /tmp somebody else may have been there first.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise StartError(f"{base} is not a directory of yours; remove it, or set XDG_RUNTIME_DIR")
    base.chmod(0o711 if os.getuid() == 0 else 0o700)


def sandbox_states(base: Path) -> Iterator[tuple[RunDir, SandboxState | None]]:
    """The sandboxes below ``base``; the state is None while a start is under way."""
    for path in sorted(base.glob("[0-9a-f]" * 8)):
        try:
            yield RunDir(path), RunDir(path).read_state()
        except (OSError, ValueError, TypeError, KeyError):
            yield RunDir(path), None


def sweep(base: Path) -> list[str]:
    """Remove directories, cgroups and mount points whose launcher and reaper both died; return
    their ids."""
    stale = {
        run_dir: sandbox_state.made
        for run_dir, sandbox_state in sandbox_states(base)
        if sandbox_state is not None and not sandbox_state.owner.alive
    }
    # First, as afterwards nobody knows whose they are.
    remove_named([run_dir.id for run_dir in stale])
    for run_dir, points in stale.items():
        _remove_points(run_dir, points)
        with contextlib.suppress(OSError):
            remove_tree(str(run_dir.path))
    for path in base.glob(f"{CLIENTS}*"):
        _remove_unlocked(path)
    return [run_dir.id for run_dir in stale]


def _remove_points(run_dir: RunDir, points: Sequence[Made]) -> None:
    """As the reaper would have: those that are still as they were made and that nobody needs."""
    for root, relative, *inode in reversed(points):
        with contextlib.suppress(OSError):
            if not in_use(f"{root}/{relative}", str(run_dir.state_file)):
                remove_mount_point(root, relative, inode)


def _remove_unlocked(path: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
        finally:
            os.close(descriptor)
