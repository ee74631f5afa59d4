"""A child process: how it is started, what it writes, how it ends."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
from typing import Any, Dict, List, NamedTuple, NoReturn, Optional, Sequence

from . import spaces, terminal

CHUNK = 1 << 16
KERNEL_OOM_SCORE = 300
"""When memory runs out the engine shall kill a kernel, not the guest that reports it."""
RESET_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
"""A program expects the defaults; python, the guest, the engine, or the shell that the launcher
was started from, in the background or by nohup, may have set others."""
MAY_LACK_SPACE = (signal.SIGBUS, signal.SIGKILL)
"""What a process gets that writes to a mapped file where there is no room, or no memory."""
PR_SET_DUMPABLE = 4
"""Of linux/prctl.h."""
CHANNEL = 3
"""Over this descriptor a child tells the guest how its start went."""


class SpawnRequest(NamedTuple):
    """What the launcher asked for."""

    id: str
    argv: List[str]
    env: Dict[str, str]
    cwd: str
    fork: bool = False
    stdin: bool = False
    connection_file: Optional[str] = None
    terminal: Optional[List[int]] = None  # its rows and columns


class Process:
    """A child of the guest: the leader of a session and process group of its own."""

    def __init__(
        self,
        id: str,
        pid: int,
        pipes: Dict[int, int],
        stdin: Optional[int],
        connection_file: Optional[str],
        terminal: Optional[int] = None,
    ) -> None:
        self.id = id
        self.pid = pid
        self.pipes = pipes  # {descriptor: stream number}
        self.stdin = stdin  # descriptor or None
        self.pending = b""
        self.ending = False
        self.connection_file = connection_file
        self.terminal = terminal  # the descriptor of its side that is ours, or None

    def resize(self, rows: int, columns: int) -> None:
        if self.terminal in self.pipes:
            terminal.resize(self.terminal, rows, columns)

    def waiting_bytes(self, descriptor: int) -> int:
        """How much can be read from it at once; of a terminal, which cannot tell, a bound."""
        return terminal.LEFT if descriptor == self.terminal else waiting_bytes(descriptor)


class BecomeKernel(Exception):
    """Raised in a forked child, to leave the guest's stack behind before the kernel runs."""

    def __init__(self, argv: List[str], spare: bool) -> None:
        super().__init__()
        self.argv = argv
        self.spare = spare


# ---------------------------------------------------------------- start


def start(request: SpawnRequest) -> Process:
    """Start what was asked for; OSError, its ``filename`` the step that failed."""
    ends: Dict[str, int] = {}
    try:
        if request.terminal is None:
            open_pipes(ends, request.stdin)
        else:
            terminal.open_ends(ends, request.terminal)
        ends["channel"], ends["child's channel"] = os.pipe()
        pid = fork(ends, request)
        _await_start(pid, ends.pop("channel"))
    except OSError:
        for descriptor in ends.values():
            os.close(descriptor)
        raise
    pipes = {ends[name]: number for name, number in (("out", 1), ("err", 2)) if name in ends}
    its_terminal = ends["out"] if request.terminal is not None else None
    return Process(request.id, pid, pipes, ends.get("in"), request.connection_file, its_terminal)


def _await_start(pid: int, channel: int) -> None:
    report = b""
    while True:
        part = os.read(channel, CHUNK)
        if not part:
            break
        report += part
    os.close(channel)
    if report:
        os.waitpid(pid, 0)
        code, _, step = report.partition(b":")
        raise OSError(int(code), os.strerror(int(code)), step.decode())


def open_pipes(ends: Dict[str, int], stdin: bool) -> None:
    """Both ends of a child's stdout and stderr, and of its stdin, which may be nothing.

    ``ends`` holds every descriptor that is open, also when an OSError is raised.
    """
    for name in ("out", "err"):
        ends[name], ends["child's " + name] = os.pipe()
        os.set_blocking(ends[name], False)
    if stdin:
        ends["child's in"], ends["in"] = os.pipe()
    else:
        ends["child's in"] = os.open(os.devnull, os.O_RDONLY)


def fork(ends: Dict[str, int], request: SpawnRequest, spare: bool = False) -> int:
    """The pid of the child; its ends are closed here."""
    pid = os.fork()
    if pid == 0:
        names = ("in", "out", "err", "channel")
        _enter_child([ends["child's " + name] for name in names], request, spare)
    for name in [name for name in ends if name.startswith("child's ")]:
        os.close(ends.pop(name))
    return pid


def _enter_child(ends: List[int], request: SpawnRequest, spare: bool) -> NoReturn:
    """In the forked child: cut every tie to the guest, then become the process.

    ``ends`` become descriptors 0, 1, 2 and CHANNEL, which tells the guest of an error, or ends
    with the start; a spare kernel keeps it.
    """
    step = "setsid"
    try:
        signal.set_wakeup_fd(-1)
        for signum in RESET_SIGNALS:
            signal.signal(signum, signal.SIG_DFL)
        os.setsid()
        for target, descriptor in enumerate(ends):
            os.dup2(descriptor, target, inheritable=target < CHANNEL)
        if request.terminal is not None:
            terminal.take(0)
        os.closerange(CHANNEL + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        set_dumpable(True)  # nothing of the guest's is open any more
        raise_oom_score()
        step = "chdir"
        os.chdir(request.cwd)
        step = "exec"
        if not request.fork:
            os.execvpe(request.argv[0], request.argv, request.env)
    except (OSError, ValueError, IndexError) as error:
        # A NUL in a word, a "=" in a variable's name, no words at all: Python's own refusals.
        code = error.errno if isinstance(error, OSError) else errno.EINVAL
        os.write(CHANNEL, ("%s:%s" % (code, step)).encode())
        os._exit(127)
    if not spare:
        os.close(CHANNEL)
    os.environ.clear()
    os.environ.update(request.env)
    raise BecomeKernel(request.argv, spare)


def set_dumpable(dumpable: bool) -> None:
    """Whether others of the same user may look into this process, stop it by ptrace and dump it.

    A program that is executed is again, a forked child is what its parent was.
    """
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, int(dumpable), 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass  # an interpreter without ctypes; as PID 1 it is out of reach of signals all the same


def raise_oom_score() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(KERNEL_OOM_SCORE))
    except OSError:
        pass


def describe(error: OSError, request: SpawnRequest) -> str:
    if error.filename == "chdir":
        return "%s: the working directory %s" % (error.strerror, request.cwd)
    if error.filename == "exec":
        return "%s: %s" % (
            error.strerror,
            request.argv[0] if request.argv else "no command was given",
        )
    return str(error)


# ---------------------------------------------------------------- its stderr


def note(pid: int, text: str) -> None:
    """Write a line to the stderr of a process, if that is a pipe with room in it."""
    try:
        descriptor = os.open("/proc/%d/fd/2" % pid, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return  # it has just ended, or closed it
    try:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.write(descriptor, text.encode() + b"\n")
    except OSError:
        pass
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------- its files


def write_connection_file(id: str, connection: Dict[str, Any], env: Dict[str, str]) -> str:
    """Where Jupyter's programs look for it; elsewhere when HOME is full, as a kernel is to start
    that can make room there."""
    directory = env.get("JUPYTER_RUNTIME_DIR") or os.path.join(
        env.get("HOME", "/tmp"), ".local/share/jupyter/runtime"
    )
    *first, last = (directory, "/tmp", "/dev/shm")
    for place in first:
        try:
            return _write_connection(place, id, connection)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return _write_connection(last, id, connection)


def _write_connection(directory: str, id: str, connection: Dict[str, Any]) -> str:
    os.makedirs(directory, mode=0o700, exist_ok=True)
    name = os.path.join(directory, "kernel-%s.json" % id)
    unlink_quietly(name)
    descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(connection, file)
    except OSError:
        unlink_quietly(name)
        raise
    return name


def unlink_quietly(name: Optional[str]) -> None:
    try:
        if name is not None:
            os.unlink(name)
    except OSError:
        pass


# ---------------------------------------------------------------- its output


def waiting_bytes(descriptor: int) -> int:
    """How much can be read from a pipe at once."""
    import fcntl
    import struct
    import termios

    count: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))[0]
    return count


# ---------------------------------------------------------------- its end


class Ends:
    """How processes end, as the launcher is told."""

    def __init__(self, places: Sequence[str]) -> None:
        self.places = places
        self.oom_kills = oom_kills()

    def told(self, status: int) -> Dict[str, Any]:
        """The message's fields, from what wait() has said."""
        before, self.oom_kills = self.oom_kills, oom_kills()
        signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        return {
            "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            "signal": signalled,
            "oom": signalled == signal.SIGKILL and self.oom_kills > before,
            "spaces": spaces.look(self.places) if signalled in MAY_LACK_SPACE else [],
        }


def oom_kills() -> int:
    """How many processes of this sandbox the kernel has killed for memory, as far as it says."""
    for name in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            with open(name) as lines:
                for line in lines:
                    key, _, value = line.partition(" ")
                    if key == "oom_kill":
                        return int(value)
        except (OSError, ValueError):
            continue
    return 0
