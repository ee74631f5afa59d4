"""The one program that runs inside a sandbox: it proves the excludes, then starts processes.

It is mounted read-only into the sandbox and needs nothing but a python3 >= 3.8. The launcher
holds its stdin and stdout, the leash, and JSON objects run over them, one a line; when stdin
ends, by whatever death of the launcher, the guest exits and the sandbox with it.

To the guest:
    spawn  {id, argv, env, cwd, fork, connection, stdin}   start a process
    input  {id, data}      bytes (base64) for its stdin; data null ends it
    signal {id, signum}    to its whole process group
    usage  {id}            ask for the mounts' use
    stop   {}              end everything
From the guest:
    ready    {mounts, python}      the excludes' promises hold
    refused  {mounts}              they do not; the guest exits
    spawned  {id, pid} / failed {id, error, missing}   missing: there is no such program
    output   {id, stream, data}    bytes (base64) of its stdout (1) or stderr (2)
    input_taken {id}               the last ``input`` was written; send the next
    exited   {id, code, signal, oom}
    mount_lost {path}              an exclude came undone
    usage    {id, mounts}

Everything the launcher reads from here is hostile to it: kernels run as the guest's own user.
"""

from __future__ import annotations

import base64
import errno
import gc
import importlib
import importlib.util
import json
import mmap
import os
import resource
import select
import signal
import stat
import sys
import threading
import time
from typing import Any, Dict, List, NoReturn, Optional, Set, Tuple

TMPFS_MODE = 0o1777
WATCH_SECONDS = 2.0
"""A renamed parent moves a mount without any event, so the excludes are also looked at now and
then."""
CHUNK = 1 << 16
KERNEL_OOM_SCORE = 300
"""When memory runs out the engine shall kill a kernel, not the guest that reports it."""
RESET_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
"""A program expects the defaults; python, the guest, the engine, or the shell that the launcher
was started from, in the background or by nohup, may have set others."""
READ_AT_START = ("PYTHON", "LANG", "LC_", "TZ", "LD_", "MALLOC_")
"""Variables that an interpreter, or its C library, reads once: a fork has read the guest's."""


# ---------------------------------------------------------------- the excludes' proof


def mount_table() -> Dict[str, Tuple[str, Set[str]]]:
    """``{mount point: (filesystem type, set of options)}``; the last mount at a point is on top."""
    table = {}
    # A path may hold anything that some str method takes for the end of a word or line; the
    # kernel escapes no more than space, tab, newline and backslash.
    with open(
        "/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape", newline="\n"
    ) as lines:
        for line in lines:
            fields = line.split(" ")
            separator = fields.index("-")
            path = _unescape(fields[4])
            table[path] = (fields[separator + 1], set(fields[5].split(",")))
    return table


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def prove(excludes: List[Dict[str, str]]) -> List[Dict[str, Any]]:
    """Try each exclude for real; returns what was found, ``problem`` None where it holds."""
    table = mount_table()
    return [
        (_prove_directory if exclude["kind"] == "directory" else _prove_file)(
            exclude["path"], table
        )
        for exclude in excludes
    ]


def _prove_directory(path: str, table: Dict[str, Tuple[str, Set[str]]]) -> Dict[str, Any]:
    fstype, _ = table.get(path, ("", set()))
    proof: Dict[str, Any] = {"path": path, "type": fstype or "not a mount", "problem": None}
    try:
        proof.update(_measure(path))
        if fstype != "tmpfs":
            proof["problem"] = "it is %s, not a tmpfs of its own" % proof["type"]
            return proof
        mode = _mend_mode(path)
        proof["mode"] = mode
        foreign = set(os.listdir(path)) - _mounted_below(path, table)
        proof["writable"] = _can_write(path)
        proof["executable"] = proof["writable"] and _can_execute(path)
    except OSError as error:
        proof["problem"] = str(error)
        return proof
    if mode != TMPFS_MODE:
        proof["problem"] = "its mode is %o, not %o" % (mode, TMPFS_MODE)
    elif foreign:
        proof["problem"] = "it is not empty: it holds %r" % sorted(foreign)[0]
    elif not proof["writable"]:
        proof["problem"] = "uid %d cannot write to it" % os.getuid()
    elif not proof["executable"]:
        proof["problem"] = "programs in it cannot be run (noexec)"
    return proof


def _mounted_below(path: str, table: Dict[str, Tuple[str, Set[str]]]) -> Set[str]:
    """The entries of ``path`` on the way to mounts that the plan has inside the exclude."""
    start = path + "/"
    return {point[len(start) :].split("/")[0] for point in table if point.startswith(start)}


def _measure(path: str) -> Dict[str, Any]:
    space = os.statvfs(path)
    size = space.f_blocks * space.f_frsize
    return {
        "mode": stat.S_IMODE(os.stat(path).st_mode),
        "size": size,
        "used": size - space.f_bfree * space.f_frsize,
    }


def _mend_mode(path: str) -> int:
    # runc below 1.1.8 gives a tmpfs the mode of the directory it covers; where the engine let
    # uid= through the tmpfs is ours, and we can put that right.
    status = os.stat(path)
    if stat.S_IMODE(status.st_mode) != TMPFS_MODE and status.st_uid == os.getuid():
        os.chmod(path, TMPFS_MODE)
    return stat.S_IMODE(os.stat(path).st_mode)


def _can_write(path: str) -> bool:
    name = os.path.join(path, ".moat-proof")
    try:
        descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError:
        return False
    os.close(descriptor)
    os.unlink(name)
    return True


def _can_execute(path: str) -> bool:
    """Run a program from there, and map one: what a script needs, and what a library needs."""
    name = os.path.join(path, ".moat-proof")
    program = "#!/bin/sh\nexit 42\n"
    if not os.path.exists("/bin/sh"):
        program = "#!%s\nraise SystemExit(42)\n" % sys.executable
    try:
        with open(name, "w") as script:
            script.write(program)
        os.chmod(name, 0o700)
        with open(name, "rb") as script:
            mmap.mmap(script.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()
        pid = os.posix_spawn(name, [name], {})
        return os.waitpid(pid, 0)[1] == 42 << 8
    except (OSError, ValueError):
        return False
    finally:
        os.unlink(name)


def _prove_file(path: str, table: Dict[str, Tuple[str, Set[str]]]) -> Dict[str, Any]:
    proof: Dict[str, Any] = {
        "path": path,
        "type": "empty file",
        "executable": False,
        "problem": None,
    }
    try:
        status = os.stat(path)
        proof.update(mode=stat.S_IMODE(status.st_mode), size=status.st_size, used=0)
        proof["writable"] = _opens_for_writing(path)
    except OSError as error:
        proof["problem"] = str(error)
        return proof
    if path not in table:
        proof["problem"] = "it is not covered: the host's own file shows"
    elif status.st_size or not stat.S_ISREG(status.st_mode):
        proof["problem"] = "what covers it is not an empty file"
    elif proof["writable"]:
        proof["problem"] = "it can be written"
    return proof


def _opens_for_writing(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError:
        return False
    return True


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


# ---------------------------------------------------------------- memory


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


# ---------------------------------------------------------------- processes


class Process:
    """A child of the guest: the leader of a session and process group of its own."""

    def __init__(
        self,
        id: str,
        pid: int,
        pipes: Dict[int, int],
        stdin: Optional[int],
        connection_file: Optional[str],
    ) -> None:
        self.id = id
        self.pid = pid
        self.pipes = pipes  # {descriptor: stream number}
        self.stdin = stdin  # descriptor or None
        self.pending = b""
        self.ending = False
        self.connection_file = connection_file


class BecomeKernel(Exception):
    """Raised in a forked child, to leave the guest's stack behind before the kernel runs."""

    def __init__(self, argv: List[str]) -> None:
        super().__init__()
        self.argv = argv


class Guest:
    def __init__(self, config: Dict[str, Any], leash_in: int, leash_out: int) -> None:
        self.config = config
        self.leash_in = leash_in
        self.leash_out = leash_out
        self.environ = dict(os.environ)  # as it was: debugpy's import adds to it
        self.buffer = b""
        self.processes: Dict[str, Process] = {}
        self.poll = select.poll()
        self.watched: Dict[str, Tuple[int, int]] = {}
        self.oom_kills = oom_kills()
        self.import_error: Optional[str] = None
        self.next_watch = 0.0

    def send(self, kind: str, **fields: Any) -> None:
        data = json.dumps(dict(fields, type=kind)).encode() + b"\n"
        while data:
            data = data[os.write(self.leash_out, data) :]

    def run(self) -> int:
        """Serve until the leash ends; returns the exit code."""
        mounts = prove(self.config["excludes"])
        if any(mount["problem"] for mount in mounts):
            self.send("refused", mounts=mounts)
            return 3
        self.watched = {mount["path"]: identity(mount["path"]) for mount in mounts}
        self.send("ready", mounts=mounts, python=list(sys.version_info[:3]))
        self.watch_fds()
        self.preload()
        while True:
            for descriptor, event in self.poll.poll(WATCH_SECONDS * 1000):
                if not self.handle(descriptor, event):
                    return 0
            if time.monotonic() >= self.next_watch:
                self.watch_mounts()

    def watch_fds(self) -> None:
        os.set_blocking(self.leash_in, False)
        self.poll.register(self.leash_in, select.POLLIN)
        self.wakeup, wakeup_write = os.pipe()
        for descriptor in (self.wakeup, wakeup_write):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        self.poll.register(self.wakeup, select.POLLIN)
        self.mountinfo = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self.poll.register(self.mountinfo, select.POLLPRI)

    def preload(self) -> None:
        """Import what forked kernels need, once; no thread may come of it."""
        for name in self.config["preload"]:
            try:
                importlib.import_module(name)
            except (Exception, SystemExit) as error:
                self.import_error = "%s: %s" % (type(error).__name__, error)
                return
        gc.collect()
        gc.freeze()

    def handle(self, descriptor: int, event: int) -> bool:
        if descriptor == self.leash_in:
            return self.read_leash()
        if descriptor == self.wakeup:
            os.read(self.wakeup, CHUNK)
            self.reap()
        elif descriptor == self.mountinfo:
            self.watch_mounts()
        else:
            self.child_event(descriptor, event)
        return True

    def read_leash(self) -> bool:
        try:
            data = os.read(self.leash_in, CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            message = json.loads(line)
            kind = message.pop("type")
            if kind == "stop":
                return False
            getattr(self, "on_" + kind)(**message)
        return True

    # -------- messages

    def on_spawn(
        self,
        id: str,
        argv: List[str],
        env: Dict[str, str],
        cwd: str,
        fork: bool = False,
        connection: Optional[Dict[str, Any]] = None,
        stdin: bool = False,
    ) -> None:
        env = dict(self.environ, **env)
        fork = fork and self.can_fork(env)
        if fork and self.import_error:
            self.send(
                "failed",
                id=id,
                error="the kernel's modules do not import: " + self.import_error,
                missing=False,
            )
            return
        connection_file = None
        try:
            if connection is not None:
                connection_file = write_connection_file(id, connection, env)
                argv = [part.replace("{connection_file}", connection_file) for part in argv]
            process = self.start(id, argv, env, cwd, fork, stdin, connection_file)
        except OSError as error:
            if connection_file is not None:
                unlink_quietly(connection_file)
            missing = error.filename == "exec" and error.errno == errno.ENOENT
            self.send("failed", id=id, error=describe(error, argv, cwd), missing=missing)
            return
        self.processes[id] = process
        self.send("spawned", id=id, pid=process.pid)

    def can_fork(self, env: Dict[str, str]) -> bool:
        """Whether a forked kernel would be what a fresh interpreter with ``env`` is."""

        def settings(variables: Any) -> Dict[str, str]:
            return {k: v for k, v in variables.items() if k.startswith(READ_AT_START)}

        return settings(env) == settings(self.environ) and threading.active_count() == 1

    def start(
        self,
        id: str,
        argv: List[str],
        env: Dict[str, str],
        cwd: str,
        fork: bool,
        stdin: bool,
        connection_file: Optional[str],
    ) -> Process:
        ends: Dict[str, int] = {}
        try:
            pid = self.fork(ends, argv, env, cwd, fork, stdin)
        except OSError:
            for descriptor in ends.values():
                os.close(descriptor)
            raise
        for name in ("out", "err"):
            self.poll.register(ends[name], select.POLLIN)
        pipes = {ends["out"]: 1, ends["err"]: 2}
        return Process(id, pid, pipes, ends.get("in"), connection_file)

    def fork(
        self,
        ends: Dict[str, int],
        argv: List[str],
        env: Dict[str, str],
        cwd: str,
        fork: bool,
        stdin: bool,
    ) -> int:
        """Fork a child that has become its program; its pid, and our ends of its pipes.

        ``ends`` holds every descriptor that is open, also when an OSError is raised.
        """
        ends["out"], ends["child's out"] = os.pipe()
        ends["err"], ends["child's err"] = os.pipe()
        if stdin:
            ends["child's in"], ends["in"] = os.pipe()
        else:
            ends["child's in"] = os.open(os.devnull, os.O_RDONLY)
        ends["report"], ends["child's report"] = os.pipe()
        child_ends = [ends["child's " + name] for name in ("in", "out", "err", "report")]
        pid = os.fork()
        if pid == 0:
            enter_child(child_ends, argv, env, cwd, fork)
        for name in [name for name in ends if name.startswith("child's ")]:
            os.close(ends.pop(name))
        report = b""
        while True:
            part = os.read(ends["report"], CHUNK)
            if not part:
                break
            report += part
        os.close(ends.pop("report"))
        if report:
            os.waitpid(pid, 0)
            code, _, step = report.partition(b":")
            raise OSError(int(code), os.strerror(int(code)), step.decode())
        return pid

    def on_input(self, id: str, data: Optional[str]) -> None:
        process = self.processes.get(id)
        if process is None or process.stdin is None:
            return
        if data is None:
            process.ending = True
        else:
            process.pending += base64.b64decode(data)
        os.set_blocking(process.stdin, False)
        self.poll.register(process.stdin, select.POLLOUT)

    def on_signal(self, id: str, signum: int) -> None:
        process = self.processes.get(id)
        if process is not None:
            try:
                os.killpg(process.pid, signum)
            except OSError:
                pass  # a group that has just ended, or no signal at all: nothing to report to

    def on_usage(self, id: str) -> None:
        self.watch_mounts()
        mounts = []
        for path in sorted(self.watched):
            if os.path.isfile(path):
                continue
            try:
                mounts.append(dict(_measure(path), path=path))
            except OSError:
                continue
        self.send("usage", id=id, mounts=mounts)

    # -------- events

    def child_event(self, descriptor: int, event: int) -> None:
        for process in self.processes.values():
            if descriptor in process.pipes:
                self.read_child(process, descriptor)
                return
            if descriptor == process.stdin:
                self.write_child(process, descriptor, event)
                return

    def read_child(self, process: Process, descriptor: int, limit: int = CHUNK) -> int:
        """Pass on what the process wrote, at most ``limit`` bytes; how many there were."""
        data = os.read(descriptor, min(limit, CHUNK))
        if data:
            self.send(
                "output",
                id=process.id,
                stream=process.pipes[descriptor],
                data=base64.b64encode(data).decode(),
            )
        else:
            self.close_pipe(process, descriptor)
        return len(data)

    def close_pipe(self, process: Process, descriptor: int) -> None:
        self.poll.unregister(descriptor)
        os.close(descriptor)
        del process.pipes[descriptor]

    def write_child(self, process: Process, descriptor: int, event: int) -> None:
        try:
            if process.pending and not event & (select.POLLERR | select.POLLHUP):
                process.pending = process.pending[os.write(descriptor, process.pending) :]
                if process.pending:
                    return
                self.send("input_taken", id=process.id)
            else:
                process.ending = process.ending or bool(event & select.POLLERR)
        except OSError as error:
            if error.errno != errno.EPIPE:
                raise
            process.ending = True
        self.poll.unregister(descriptor)
        if process.ending:
            os.close(descriptor)
            process.stdin = None

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for process in list(self.processes.values()):
                if process.pid == pid:
                    self.drain(process)
                    self.finish(process, status)

    def drain(self, process: Process) -> None:
        # A daemon that the process left behind may hold its pipes for ever, and fill them as
        # fast as they are read; so what is in them now is read, and no more.
        for descriptor in list(process.pipes):
            left = waiting_bytes(descriptor)
            while left > 0:
                left -= self.read_child(process, descriptor, left)
            self.close_pipe(process, descriptor)

    def finish(self, process: Process, status: int) -> None:
        if process.stdin is not None:
            try:
                self.poll.unregister(process.stdin)
            except KeyError:
                pass
            os.close(process.stdin)
        if process.connection_file is not None:
            unlink_quietly(process.connection_file)
        del self.processes[process.id]
        before, self.oom_kills = self.oom_kills, oom_kills()
        signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        self.send(
            "exited",
            id=process.id,
            code=code,
            signal=signalled,
            oom=signalled == signal.SIGKILL and self.oom_kills > before,
        )

    def watch_mounts(self) -> None:
        self.next_watch = time.monotonic() + WATCH_SECONDS
        # gVisor undoes a mount whose directory the host removed when it is next looked at, and
        # the table says nothing of it before; so look, and then read.
        shown = {path for path, proved in self.watched.items() if shows(path, proved)}
        for path in sorted(set(self.watched) - (shown & set(mount_table()))):
            del self.watched[path]
            self.send("mount_lost", path=path)


def describe(error: OSError, argv: List[str], cwd: str) -> str:
    if error.filename == "chdir":
        return "%s: the working directory %s" % (error.strerror, cwd)
    if error.filename == "exec":
        return "%s: %s" % (error.strerror, argv[0] if argv else "no command was given")
    return str(error)


def write_connection_file(id: str, connection: Dict[str, Any], env: Dict[str, str]) -> str:
    directory = env.get("JUPYTER_RUNTIME_DIR") or os.path.join(
        env.get("HOME", "/tmp"), ".local/share/jupyter/runtime"
    )
    os.makedirs(directory, mode=0o700, exist_ok=True)
    name = os.path.join(directory, "kernel-%s.json" % id)
    unlink_quietly(name)
    descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(connection, file)
    return name


def waiting_bytes(descriptor: int) -> int:
    """How much can be read from a pipe at once."""
    import fcntl
    import struct
    import termios

    count: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))[0]
    return count


def unlink_quietly(name: str) -> None:
    try:
        os.unlink(name)
    except OSError:
        pass


def enter_child(
    ends: List[int],
    argv: List[str],
    env: Dict[str, str],
    cwd: str,
    fork: bool,
) -> NoReturn:
    """In the forked child: cut every tie to the guest, then become the process.

    ``ends`` become descriptors 0, 1, 2 and 3; the last tells the guest of an error, or ends.
    """
    step = "setsid"
    try:
        signal.set_wakeup_fd(-1)
        for signum in RESET_SIGNALS:
            signal.signal(signum, signal.SIG_DFL)
        os.setsid()
        for target, descriptor in enumerate(ends):
            os.dup2(descriptor, target, inheritable=target < 3)
        os.closerange(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        raise_oom_score()
        step = "chdir"
        os.chdir(cwd)
        step = "exec"
        if not fork:
            os.execvpe(argv[0], argv, env)
    except (OSError, ValueError, IndexError) as error:
        # A NUL in a word, a "=" in a variable's name, no words at all: Python's own refusals.
        code = error.errno if isinstance(error, OSError) else errno.EINVAL
        os.write(3, ("%s:%s" % (code, step)).encode())
        os._exit(127)
    os.close(3)
    os.environ.clear()
    os.environ.update(env)
    raise BecomeKernel(argv)


def raise_oom_score() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(KERNEL_OOM_SCORE))
    except OSError:
        pass


def run_kernel(argv: List[str]) -> None:
    """What ``python -m ipykernel_launcher ARGS`` does, in an interpreter that is warm already."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(signum, signal.SIG_IGN)  # as every python starts
    gc.unfreeze()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()  # or each kernel would draw the same numbers
    launcher = importlib.util.find_spec("ipykernel_launcher")
    sys.argv = [launcher.origin if launcher and launcher.origin else argv[2], *argv[3:]]
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


def take_leash() -> List[int]:
    """Move stdin and stdout out of the way of everything that is started from here."""
    import fcntl

    leash = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (0, 1)]
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return leash


def main() -> None:
    config = json.loads(sys.argv[1])
    sys.path.pop(0)  # the guest's own directory is nothing to the kernels
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    guest = Guest(config, *take_leash())
    try:
        code = guest.run()
    except BecomeKernel as child:
        argv = child.argv
        del guest
    except BrokenPipeError:
        os._exit(0)
    else:
        os._exit(code)  # PID 1's end takes everything else in the sandbox with it
    run_kernel(argv)


if __name__ == "__main__":
    main()
