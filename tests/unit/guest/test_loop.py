"""The guest, run for real: in mount and PID namespaces of its own, spoken to over its pipes."""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

import moat_nb
from moat_nb.guest.settings import Exclude, PortForward, Settings
from moat_nb.guest.usage import HISTORY, Usage

pytestmark = pytest.mark.machine  # a guest is the first process of a namespace

GUEST = Path(moat_nb.__file__).parent / "guest"
ROOT = os.getuid() == 0
NAMESPACES = (
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *(() if ROOT else ("--user", "--map-root-user")),
)
KERNEL = ("python3", "-m", "ipykernel_launcher", "-f", "{connection_file}")
PRELOAD = ("ipykernel.kernelapp", "ipykernel.ipkernel")
PIECE = 64 << 10


class Guest:
    """A guest as PID 1 of its own namespace, where it may mount and count processes."""

    def __init__(
        self,
        directory: Path,
        *,
        excludes: Sequence[tuple[str, Path]] = (),
        preload: Sequence[str] = (),
        port_forwards: Sequence[PortForward] = (),
        setup: str = "",
        python: str = sys.executable,
        env: dict[str, str] | None = None,
        in_no_hurry: bool = False,
    ) -> None:
        self.directory = directory
        self.stderr = directory / "guest.stderr"
        covered = [Exclude(str(path), kind) for kind, path in excludes]
        settings = Settings(covered, preload, port_forwards, in_no_hurry)
        command = shlex.join([python, str(GUEST), *settings.to_argv()])
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*NAMESPACES, "sh", "-ec", f"{setup}\nexec {command}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={"PATH": f"{Path(python).parent}:{os.environ['PATH']}", "HOME": str(directory)}
                | (env or {}),
            )
        self.outputs: dict[str, dict[int, bytearray]] = defaultdict(lambda: defaultdict(bytearray))
        self.heard: list[dict[str, Any]] = []
        self.counter = 0

    def tell(self, kind: str, **fields: Any) -> None:
        self.tell_raw(json.dumps({"type": kind, **fields}).encode() + b"\n")

    def tell_raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def hear(self, kind: str, id: str | None = None) -> dict[str, Any]:
        """The next message of a kind; what else comes meanwhile is kept."""
        for message in self.heard:
            if message["type"] == kind and id in (None, message.get("id")):
                self.heard.remove(message)
                return message
        while True:
            message = self.hear_any()
            if message["type"] == kind and id in (None, message.get("id")):
                return message
            if message["type"] in ("failed", "refused"):
                pytest.fail(f"awaited {kind}, heard {message}")
            self.heard.append(message)

    def hear_any(self) -> dict[str, Any]:
        """The next message that is not output."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message: dict[str, Any] = json.loads(line)
            if message["type"] != "output":
                return message
            data = base64.b64decode(message["data"])
            self.outputs[message["id"]][message["stream"]] += data
        pytest.fail(f"heard the end: {self.stderr.read_text()}")

    def spawn(self, argv: Sequence[str], answer: str = "spawned", **fields: Any) -> str:
        self.counter += 1
        id = str(self.counter)
        fields = {"env": {}, "cwd": str(self.directory), **fields}
        self.tell("spawn", id=id, argv=list(argv), **fields)
        self.answer = self.hear(answer, id)
        return id

    def refusal(self, argv: Sequence[str], **fields: Any) -> str:
        self.spawn(argv, answer="failed", **fields)
        return str(self.answer["error"])

    def finish(self, id: str) -> tuple[int | None, int | None]:
        exited = self.hear("exited", id)
        return exited["code"], exited["signal"]

    def run(self, script: str, **fields: Any) -> str:
        """What a shell script writes to its stdout; it must end well."""
        id = self.spawn(["sh", "-c", script], **fields)
        assert self.finish(id) == (0, None), bytes(self.outputs[id][2])
        return bytes(self.outputs[id][1]).decode()

    def open_descriptors(self) -> int:
        # The least of several: the guest may still be closing what it started the asker with.
        return min(int(self.run("sleep 0.05; ls /proc/1/fd | wc -l")) for _ in range(3))

    def processes(self) -> list[str]:
        """The states and names of all processes in the namespace but the guest and the asker."""
        script = "cat /proc/[0-9]*/stat 2>/dev/null; true"  # some end while it looks
        stats = [line.split() for line in self.run(script).splitlines()]
        return [f"{s[2]} {s[1]}" for s in stats if s[0] != "1" and s[1] not in ("(sh)", "(cat)")]

    def end(self) -> int:
        """Let go of the attach stream; the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout=300)

    def discard(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()  # and the namespace with it
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


Start = Callable[..., Guest]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    guests = []

    def start(**options: Any) -> Guest:
        guests.append(Guest(tmp_path, **options))
        return guests[-1]

    yield start
    for each in guests:
        each.discard()


@pytest.fixture
def guest(start: Start) -> Guest:
    """A guest without excludes that has said it is ready."""
    guest = start()
    ready = guest.hear("ready")
    assert ready.pop("sources")["/proc"][1] == "/"
    assert ready == {
        "type": "ready",
        "mounts": [],
        "python": list(sys.version_info[:3]),
    }
    return guest


# ---------------------------------------------------------------- the excludes' proof

MIB = 1 << 20


def tmpfs(path: Path, options: str = "mode=1777") -> str:
    path.mkdir(exist_ok=True)
    return f"mount -t tmpfs -o size={MIB},{options} tmpfs {shlex.quote(str(path))}\n"


def test_a_tmpfs_of_mode_1777_is_proved(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "node_modules"
    guest = start(excludes=[("directory", path)], setup=tmpfs(path))
    assert guest.hear("ready")["mounts"] == [
        {
            "path": str(path),
            "type": "tmpfs",
            "mode": 0o1777,
            "size": MIB,
            "used": 0,
            "writable": True,
            "executable": True,
            "problem": None,
        }
    ]
    assert guest.run(f"ls -A {path}") == ""


def test_a_wrong_mode_is_mended_when_the_tmpfs_is_the_guests_own(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "e"
    guest = start(excludes=[("directory", path)], setup=tmpfs(path, "mode=755"))
    assert guest.hear("ready")["mounts"][0]["mode"] == 0o1777
    assert guest.run(f"stat -c %a {path}") == "1777\n"


@pytest.mark.skipif(not ROOT, reason="needs a second uid, which only root can map")
def test_a_wrong_mode_is_refused_when_the_tmpfs_is_somebody_elses(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "e"
    guest = start(excludes=[("directory", path)], setup=tmpfs(path, "mode=755,uid=1"))
    assert guest.hear("refused")["mounts"][0]["problem"] == "its mode is 755, not 1777"
    assert guest.process.wait(timeout=300) == 3


@pytest.mark.parametrize(
    ("setup", "problem"),
    [
        ("mount -t tmpfs -o mode=1777,noexec tmpfs {}", "programs in it cannot be run (noexec)"),
        ("mount -t tmpfs -o mode=1777,ro tmpfs {}", "uid 0 cannot write to it"),
        ("mount -t tmpfs -o mode=1777,nr_inodes=1 tmpfs {}", "uid 0 cannot write to it"),
        (
            "mount -t tmpfs -o mode=1777 tmpfs {0}; touch {0}/b {0}/a",
            "it is not empty: it holds 'a'",
        ),
        ("mount -t proc proc {}", "it is proc, not a tmpfs of its own"),
        ("true", "it is not a mount, not a tmpfs of its own"),
        ("mount -t tmpfs tmpfs {0}; mount -t proc proc {0}", "it is proc, not a tmpfs of its own"),
        ("rmdir {}", "[Errno 2] No such file or directory: '{}'"),
    ],
)
def test_a_directory_that_is_not_what_was_promised_is_refused(
    start: Start, tmp_path: Path, setup: str, problem: str
) -> None:
    path = tmp_path / "e"
    path.mkdir()
    guest = start(excludes=[("directory", path)], setup=setup.format(path))
    assert guest.hear("refused")["mounts"][0]["problem"] == problem.format(path)
    assert guest.process.wait(timeout=300) == 3


def test_one_broken_promise_among_good_ones_is_refused_and_all_are_told(
    start: Start, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    excludes = [("directory", good), ("directory", bad)]
    guest = start(excludes=excludes, setup=tmpfs(good) + tmpfs(bad, "mode=1777,noexec"))
    problems = [mount["problem"] for mount in guest.hear("refused")["mounts"]]
    assert problems == [None, "programs in it cannot be run (noexec)"]


COVER = "touch {1}; chmod 444 {1}; mount --bind {1} {0}; mount -o remount,bind,ro {0}"


@pytest.mark.parametrize(
    ("setup", "problem"),
    [
        ("true", "it is not covered: the host's own file shows"),
        ("echo x > {1}; mount --bind {1} {0}", "what covers it is not an empty file"),
        ("touch {1}; mount --bind {1} {0}", "it can be written"),
        ("rm {0}", "[Errno 2] No such file or directory: '{0}'"),
    ],
)
def test_a_file_that_is_not_covered_by_a_read_only_empty_one_is_refused(
    start: Start, tmp_path: Path, setup: str, problem: str
) -> None:
    path, empty = tmp_path / ".env", tmp_path / "empty"
    path.write_text("KEY=secret")
    guest = start(excludes=[("file", path)], setup=setup.format(path, empty))
    assert guest.hear("refused")["mounts"][0]["problem"] == problem.format(path)


def test_a_file_covered_by_a_read_only_empty_one_is_proved(start: Start, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("KEY=secret")
    guest = start(excludes=[("file", path)], setup=COVER.format(path, tmp_path / "empty"))
    proof = guest.hear("ready")["mounts"][0]
    assert (proof["problem"], proof["writable"], proof["mode"]) == (None, False, 0o444)
    assert guest.run(f"cat {path}") == ""


@pytest.mark.parametrize("name", ["a b", "a\u00a0b", "a\rb", "a\tb\nc", "a\x1cb", "a\\040b", "ü"])
def test_a_mount_point_may_have_any_name(start: Start, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    guest = start(excludes=[("directory", path)], setup=tmpfs(path), env={"LANG": "C.UTF-8"})
    assert guest.hear("ready")["mounts"][0]["problem"] is None


# ---------------------------------------------------------------- the watch of the mount table


def test_an_exclude_that_is_unmounted_is_reported_once(start: Start, tmp_path: Path) -> None:
    path, other = tmp_path / "e", tmp_path / "other"
    excludes = [("directory", path), ("directory", other)]
    guest = start(excludes=excludes, setup=tmpfs(path) + tmpfs(other))
    guest.hear("ready")
    guest.spawn(["umount", str(path)])
    assert guest.hear("mount_lost")["path"] == str(path)
    guest.spawn(["umount", str(other)])
    assert guest.hear("mount_lost")["path"] == str(other)


def test_an_exclude_whose_parent_is_renamed_is_reported(start: Start, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    path = parent / "e"
    path.mkdir(parents=True)
    guest = start(excludes=[("directory", path)], setup=tmpfs(path))
    guest.hear("ready")
    guest.run(f"mv {parent} {tmp_path}/moved")
    assert guest.hear("mount_lost")["path"] == str(path)


COVERED_AGAIN = {
    "directory": ("mkdir {0}; mount -t tmpfs -o mode=1777 tmpfs {0}", "mount -t tmpfs tmpfs {0}"),
    "file": ("touch {0}; " + COVER, "touch {0}.other; mount --bind {0}.other {0}"),
}


@pytest.mark.parametrize("kind", COVERED_AGAIN)
def test_an_exclude_at_which_something_else_is_seen_is_reported_whatever_the_mount_table_says(
    start: Start, tmp_path: Path, kind: str
) -> None:
    """gVisor's table goes on to list what nobody sees any more."""
    path = tmp_path / "e"
    setup, other = (words.format(path, tmp_path / "empty") for words in COVERED_AGAIN[kind])
    guest = start(excludes=[(kind, path)], setup=setup)
    guest.hear("ready")
    guest.run(other)
    assert str(path) in guest.run("cut -d ' ' -f 5 /proc/self/mountinfo").splitlines()
    assert guest.hear("mount_lost")["path"] == str(path)


def test_what_a_kernel_changes_in_an_exclude_or_around_it_undoes_nothing(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "parent" / "e"
    path.mkdir(parents=True)
    guest = start(excludes=[("directory", path)], setup=tmpfs(path))
    guest.hear("ready")
    guest.run(f"chmod 700 {path}; touch {path}/new; mkdir {path}/d; mount -t tmpfs tmpfs {path}/d")
    guest.run(f"chmod 000 {path.parent}")
    guest.tell("usage", id="u")
    assert guest.hear_any()["type"] == "usage"


def test_a_lost_exclude_is_told_before_the_use_that_was_asked_for(
    start: Start, tmp_path: Path
) -> None:
    lost, kept = tmp_path / "lost", tmp_path / "kept"
    excludes = [("directory", lost), ("directory", kept)]
    guest = start(excludes=excludes, setup=tmpfs(lost) + tmpfs(kept))
    guest.hear("ready")
    guest.tell("usage", id="before")
    assert len(guest.hear("usage")["mounts"]) == 2
    guest.run(f"mount -t tmpfs tmpfs {lost}")
    guest.tell("usage", id="after")
    assert guest.hear("mount_lost")["path"] == str(lost)
    assert [mount["path"] for mount in guest.hear("usage")["mounts"]] == [str(kept)]


def test_usage_tells_what_the_excluded_directories_hold(start: Start, tmp_path: Path) -> None:
    path, file = tmp_path / "e", tmp_path / ".env"
    file.touch()
    guest = start(
        excludes=[("directory", path), ("file", file)],
        setup=tmpfs(path) + COVER.format(file, tmp_path / "empty"),
    )
    guest.hear("ready")
    guest.run(f"head -c 100000 /dev/zero > {path}/x")
    guest.tell("usage", id="u")
    (use,) = guest.hear("usage", "u")["mounts"]
    assert (use["path"], use["size"]) == (str(path), MIB)
    assert 100_000 <= use["used"] < 200_000


# ---------------------------------------------------------------- memory and CPU


def test_vitals_tell_what_kernels_and_what_they_started_use_and_of_no_other_process(
    start: Start, sockets: str
) -> None:
    guest = start(preload=PRELOAD)
    guest.hear("ready")
    guest.spawn(["sleep", "60"])
    id = guest.spawn(KERNEL, fork=True, connection=connection(f"{sockets}/k"))
    busy = "x = bytearray(90 << 20)\nwhile True: pass"
    code = f"__import__('subprocess').Popen([__import__('sys').executable, '-c', {busy!r}]).pid"
    ask(f"{sockets}/k", code)
    rows: list[list[int]] = []
    while len(rows) < 3 or rows[-1][1] <= 90 * MIB:
        time.sleep(0.5)
        guest.tell("vitals", id="v")
        (kernel,) = guest.hear("vitals", "v")["kernels"]
        assert kernel["id"] == id
        rows = kernel["samples"]
    (before, _, cpu), (after, memory, more) = rows[-2:]
    assert memory < 1000 * MIB
    assert 0 < more - cpu <= 2 * (before - after)
    guest.tell("signal", id=id, signum=int(signal.SIGKILL))
    guest.finish(id)
    guest.tell("vitals", id="w")
    assert guest.hear("vitals", "w")["kernels"] == []


def test_the_history_is_bounded_and_looks_that_come_at_once_are_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("moat_nb.guest.usage.GAP_SECONDS", 60.0)
    usage = Usage()
    kernel = {"1": os.getsid(0)}
    for _ in range(3):
        usage.sample(kernel)
    ((_, *_),) = usage.histories["1"]
    for _ in range(HISTORY + 10):
        usage.sampled = float("-inf")
        usage.sample(kernel)
    assert len(usage.histories["1"]) == HISTORY


# ---------------------------------------------------------------- processes


def test_output_is_passed_on_byte_for_byte(guest: Guest) -> None:
    script = "import os; os.write(1, bytes(range(256))); os.write(2, b'err\\0\\xff'); exit(7)"
    id = guest.spawn([sys.executable, "-c", script])
    assert guest.finish(id) == (7, None)
    assert guest.outputs[id] == {1: bytes(range(256)), 2: b"err\0\xff"}


def test_fifty_megabytes_are_passed_on_whole(guest: Guest) -> None:
    block = bytes(range(256)) * 4000
    script = "import sys; [sys.stdout.buffer.write(bytes(range(256)) * 4000) for _ in range(50)]"
    id = guest.spawn([sys.executable, "-c", script])
    assert guest.finish(id) == (0, None)
    received = hashlib.sha256(guest.outputs[id][1]).hexdigest()
    assert received == hashlib.sha256(block * 50).hexdigest()


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("exit 0", (0, None)),
        ("exit 255", (255, None)),
        ("kill -KILL $$", (None, signal.SIGKILL)),
        ("kill -TERM $$", (None, signal.SIGTERM)),
        ("kill -SEGV $$", (None, signal.SIGSEGV)),
    ],
)
def test_how_a_process_ended_is_told(
    guest: Guest, script: str, end: tuple[int | None, int | None]
) -> None:
    assert guest.finish(guest.spawn(["sh", "-c", script])) == end


def test_a_signal_reaches_the_whole_group_and_nothing_beside_it(guest: Guest) -> None:
    other = guest.spawn(["sleep", "1000"])
    script = "sleep 1000 & sh -c 'sleep 1000 & wait' & echo up; wait"
    id = guest.spawn(["sh", "-c", script])
    deadline = time.monotonic() + 60
    while guest.processes().count("S (sleep)") < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    guest.tell("signal", id=id, signum=int(signal.SIGTERM))
    assert guest.finish(id) == (None, signal.SIGTERM)
    while guest.processes() != ["S (sleep)"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert guest.processes() == ["S (sleep)"]
    guest.tell("signal", id=other, signum=int(signal.SIGKILL))
    assert guest.finish(other) == (None, signal.SIGKILL)


def test_a_signal_to_what_has_ended_or_that_is_none_does_no_harm(guest: Guest) -> None:
    id = guest.spawn(["true"])
    guest.finish(id)
    guest.tell("signal", id=id, signum=9)
    guest.tell("signal", id="never", signum=9)
    running = guest.spawn(["sleep", "1000"])
    guest.tell("signal", id=running, signum=4711)
    assert guest.run("echo still here") == "still here\n"


def test_a_process_starts_with_default_signals_in_its_own_session(guest: Guest) -> None:
    script = (
        "import os; print(os.getsid(0) == os.getpid() == os.getpgid(0));"
        "[print(l.split()[1]) for l in open('/proc/self/status') if l[:6] in ('SigIgn', 'SigBlk')]"
    )
    # A python that is started with these ignored shows them; its own two it sets afterwards.
    shell = "grep -E 'SigIgn|SigBlk' /proc/self/status"
    masks = [int(mask, 16) for mask in re.findall(r"[0-9a-f]{16}", guest.run(shell))]
    # 32 and 33 are the C library's own, which nobody can set: make leaves 32 ignored.
    assert [mask & ~(0b11 << 31) for mask in masks] == [0, 0]
    assert guest.run(f"{sys.executable} -c {shlex.quote(script)}").startswith("False")
    id = guest.spawn([sys.executable, "-c", script])
    guest.finish(id)
    assert bytes(guest.outputs[id][1]).startswith(b"True")


def test_a_process_holds_no_descriptor_of_the_guests(guest: Guest) -> None:
    id = guest.spawn([sys.executable, "-c", "import os; print(os.listdir('/proc/self/fd'))"])
    guest.finish(id)
    assert ast.literal_eval(bytes(guest.outputs[id][1]).decode()) == ["0", "1", "2", "3"]


def test_env_is_added_to_the_sandboxs_and_cwd_is_where_it_was_asked_for(
    guest: Guest, tmp_path: Path
) -> None:
    (tmp_path / "below").mkdir()
    told = guest.run("pwd; echo $A $HOME", env={"A": "ü b"}, cwd=f"{tmp_path}/below")
    assert told == f"{tmp_path}/below\nü b {tmp_path}\n"


@pytest.mark.parametrize(
    ("argv", "fields", "error"),
    [
        (["no-such-program"], {}, "No such file or directory: no-such-program"),
        (["/etc/passwd"], {}, "Permission denied: /etc/passwd"),
        ([], {}, "Invalid argument: no command was given"),
        (["echo", "a\0b"], {}, "Invalid argument: echo"),
        (["echo"], {"env": {"A=B": "c"}}, "Invalid argument: echo"),
        (["echo"], {"env": {"A": "\0"}}, "Invalid argument: echo"),
        (["echo"], {"cwd": "/nope"}, "No such file or directory: the working directory /nope"),
        (["echo"], {"cwd": "/etc/passwd"}, "Not a directory: the working directory /etc/passwd"),
        (["echo"], {"cwd": "a\0b"}, "Invalid argument: the working directory a\0b"),
        (["echo"], {"connection": {}, "env": {"HOME": "/proc"}}, "No such file or directory"),
    ],
)
def test_what_cannot_be_started_is_told_in_words_and_the_guest_lives_on(
    guest: Guest, argv: list[str], fields: dict[str, Any], error: str
) -> None:
    assert error in guest.refusal(argv, **fields)
    assert guest.run("echo on") == "on\n"


def test_input_reaches_a_process_and_its_end_too(guest: Guest) -> None:
    id = guest.spawn(["cat"], stdin=True)
    guest.tell("input", id=id, data=base64.b64encode(b"a\0b\n").decode())
    guest.hear("input_taken", id)
    guest.tell("input", id=id, data=None)
    assert guest.finish(id) == (0, None)
    assert guest.outputs[id][1] == b"a\0b\n"


def test_without_stdin_a_process_reads_nothing(guest: Guest) -> None:
    assert guest.run("cat") == ""


def test_ten_megabytes_of_input_arrive_whole(guest: Guest) -> None:
    data = os.urandom(10 << 20)
    id = guest.spawn(["sha256sum"], stdin=True)
    for offset in range(0, len(data), PIECE):
        piece = data[offset : offset + PIECE]
        guest.tell("input", id=id, data=base64.b64encode(piece).decode())
        guest.hear("input_taken", id)
    guest.tell("input", id=id, data=None)
    assert guest.finish(id) == (0, None)
    assert guest.outputs[id][1].split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_input_that_is_not_read_is_not_taken_and_holds_nothing_else_up(guest: Guest) -> None:
    script = "trap 'exec cat' USR1; echo up; while :; do sleep 0.05; done"
    id = guest.spawn(["sh", "-c", script], stdin=True)
    while b"up\n" not in guest.outputs[id][1]:
        guest.tell("usage", id="up")
        guest.hear("usage", "up")
    piece = base64.b64encode(b"x" * PIECE).decode()
    guest.tell("input", id=id, data=piece)
    guest.hear("input_taken", id)  # a pipe's worth
    guest.tell("input", id=id, data=piece)
    guest.tell("usage", id="u")
    guest.hear("usage", "u")
    assert guest.heard == []
    guest.tell("signal", id=id, signum=int(signal.SIGUSR1))
    guest.hear("input_taken", id)
    guest.tell("input", id=id, data=None)
    assert guest.finish(id) == (0, None)
    assert guest.outputs[id][1].count(b"x") == 2 * PIECE


def test_input_to_a_process_that_reads_none_of_it_ends_with_the_process(guest: Guest) -> None:
    id = guest.spawn(["sh", "-c", "exec 0<&-; sleep 0.2; exit 4"], stdin=True)
    for _ in range(20):
        guest.tell("input", id=id, data=base64.b64encode(b"x" * PIECE).decode())
    assert guest.finish(id) == (4, None)
    guest.tell("input", id=id, data="eA==")
    assert guest.run("echo on") == "on\n"


def test_nothing_that_ended_stays_a_zombie(guest: Guest) -> None:
    for id in [guest.spawn(["sh", "-c", "sleep 0.01 & exit 0"]) for _ in range(20)]:
        guest.finish(id)
    deadline = time.monotonic() + 60
    while (left := guest.processes()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == []


def test_a_daemon_that_keeps_the_pipes_open_does_not_delay_the_exit(guest: Guest) -> None:
    script = "setsid sleep 1000 & echo said; exit 3"
    id = guest.spawn(["sh", "-c", script])
    assert guest.finish(id) == (3, None)
    assert guest.outputs[id][1] == b"said\n"


def test_a_daemon_that_writes_without_end_does_not_delay_the_exit(guest: Guest) -> None:
    id = guest.spawn(["sh", "-c", "yes & yes & yes & exit 5"])
    assert guest.finish(id) == (5, None)
    assert guest.run("echo on") == "on\n"


def test_a_thousand_processes_leak_no_descriptor(guest: Guest) -> None:
    before = guest.open_descriptors()
    for _ in range(1000):
        guest.finish(guest.spawn(["true"], stdin=True))
    for _ in range(50):
        guest.refusal(["no-such-program"], stdin=True)
        guest.refusal(["true"], cwd="/nope")
    assert guest.open_descriptors() == before


def test_out_of_descriptors_is_told_leaks_none_and_passes(start: Start) -> None:
    guest = start(setup="ulimit -n 40")
    guest.hear("ready")
    before = guest.open_descriptors()
    running = []
    error = ""
    while not error:
        guest.counter += 1
        id = str(guest.counter)
        guest.tell("spawn", id=id, argv=["sleep", "1000"], env={}, cwd="/", stdin=True)
        message = guest.hear_any()
        error = message.get("error", "")
        running += [id] if not error else []
    assert "Too many open files" in error
    assert len(running) > 5
    for _ in range(50):
        assert "Too many open files" in guest.refusal(["true"], stdin=True)
    for id in running:
        guest.tell("signal", id=id, signum=9)
        guest.finish(id)
    assert guest.open_descriptors() == before


# ---------------------------------------------------------------- the end of the attach stream


def alive(marker: str) -> list[str]:
    """The processes of this machine that have ``marker`` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if marker.encode() in words:
            found.append(path.parent.name)
    return found


def marked_processes(guest: Guest) -> str:
    """Leave a process and a daemon behind that :func:`alive` finds by the word returned."""
    marker = f"1000.{int.from_bytes(os.urandom(6), 'big')}"
    guest.spawn(["sleep", marker])
    guest.finish(guest.spawn(["sh", "-c", f"trap '' TERM HUP; setsid sleep {marker} & exit 0"]))
    deadline = time.monotonic() + 60
    while len(alive(marker)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(alive(marker)) == 2
    return marker


def test_the_end_of_stdin_ends_everything(guest: Guest) -> None:
    marker = marked_processes(guest)
    assert guest.end() == 0
    assert alive(marker) == []


def test_stop_ends_everything(guest: Guest) -> None:
    marker = marked_processes(guest)
    guest.tell("stop")
    assert guest.process.wait(timeout=300) == 0
    assert alive(marker) == []


def test_a_launcher_that_reads_no_more_ends_everything(guest: Guest) -> None:
    marker = marked_processes(guest)
    assert guest.process.stdout is not None
    guest.process.stdout.close()
    guest.tell("usage", id="u")
    assert guest.process.wait(timeout=300) == 0
    assert alive(marker) == []


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"{}", b'{"type": "dance"}', b'{"type": "signal"}', b"\xff"]
)
def test_a_malformed_message_ends_everything_and_is_shown(guest: Guest, line: bytes) -> None:
    marker = marked_processes(guest)
    guest.tell_raw(line + b"\n")
    assert guest.process.wait(timeout=300) == 1
    assert alive(marker) == []
    assert "Traceback" in guest.stderr.read_text()


def test_a_message_may_come_in_pieces_and_several_at_once(guest: Guest) -> None:
    line = json.dumps({"type": "usage", "id": "a"}).encode()
    for part in (line[:5], line[5:] + b"\n" + line.replace(b'"a"', b'"b"') + b"\n"):
        guest.tell_raw(part)
        time.sleep(0.05)
    assert guest.hear("usage")["id"] == "a"
    assert guest.hear("usage")["id"] == "b"


# ---------------------------------------------------------------- kernels


@pytest.fixture
def sockets() -> Iterator[str]:
    """A directory whose path is short enough for sockets."""
    directory = tempfile.mkdtemp(prefix="moat-", dir="/tmp")
    yield directory
    shutil.rmtree(directory)


def connection(prefix: str) -> dict[str, Any]:
    names = ("shell", "iopub", "stdin", "control", "hb")
    ports = {f"{name}_port": number for number, name in enumerate(names, start=1)}
    key = {"key": "0123", "signature_scheme": "hmac-sha256", "kernel_name": ""}
    return {"transport": "ipc", "ip": prefix, **ports, **key}


def ask(prefix: str, expression: str) -> Any:
    """The value of an expression in the kernel at ``prefix``, by way of JSON."""
    client = BlockingKernelClient()
    client.load_connection_info(connection(prefix))
    client.start_channels(hb=False)  # which takes a kernel that is slow to start for dead
    try:
        user = {"value": f"__import__('json').dumps({expression})"}
        reply = client.execute("", user_expressions=user, reply=True, timeout=300)
        answer = reply["content"]["user_expressions"]["value"]
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))
    finally:
        client.stop_channels()


FACTS = """{
    "signals": {int(s): repr(__import__("signal").getsignal(s))
                for s in __import__("signal").valid_signals() if s not in (9, 19, 10)},
    "argv": __import__("sys").argv[:1],
    "path": __import__("sys").path,
    "environ": {k: v for k, v in __import__("os").environ.items() if k != "PYDEVD_USE_FRAME_EVAL"},
    "cwd": __import__("os").getcwd(),
    "leader": __import__("os").getsid(0) == __import__("os").getpid(),
    "stdin": __import__("os").readlink("/proc/self/fd/0"),
    "frozen": __import__("gc").get_freeze_count(),
    "name": __name__,
    "attach stream": [fd for fd in __import__("os").listdir("/proc/self/fd")
              if __import__("os").path.exists("/proc/self/fd/" + fd)
              and "mountinfo" in __import__("os").readlink("/proc/self/fd/" + fd)],
}"""


def test_a_forked_kernel_is_what_a_fresh_one_is(start: Start, sockets: str) -> None:
    guest = start(preload=PRELOAD)
    guest.hear("ready")
    facts = {}
    for way, fork in (("fork", True), ("exec", False)):
        prefix = f"{sockets}/{way}"
        fields = {"connection": connection(prefix), "env": {"A": "1"}}
        id = guest.spawn(KERNEL, fork=fork, **fields)
        facts[way] = ask(prefix, FACTS)
        guest.tell("signal", id=id, signum=int(signal.SIGKILL))
        assert guest.finish(id) == (None, signal.SIGKILL)
    assert facts["fork"] == facts["exec"]
    assert facts["fork"]["environ"]["A"] == "1"


def test_two_forked_kernels_draw_different_random_numbers(start: Start, sockets: str) -> None:
    preload = [*PRELOAD, "random", "uuid"]
    draw = "[__import__('random').random(), str(__import__('uuid').uuid4())]"
    if importlib.util.find_spec("numpy"):  # whose generator is not seeded anew by a fork
        preload.append("numpy.random")
        draw = draw.replace("[", "[__import__('numpy').random.rand(),", 1)
    guest = start(preload=preload)
    guest.hear("ready")
    drawn = []
    for name in ("a", "b"):
        guest.spawn(KERNEL, fork=True, connection=connection(f"{sockets}/{name}"))
        drawn.append(ask(f"{sockets}/{name}", draw))
    assert all(a != b for a, b in zip(*drawn, strict=True))


def test_the_connection_file_is_the_kernels_own_and_goes_with_it(
    guest: Guest, tmp_path: Path
) -> None:
    argv = ["sh", "-c", "cat $1; stat -c %a $1; echo $1", "sh", "{connection_file}"]
    id = guest.spawn(argv, connection={"key": "k"})
    assert guest.finish(id) == (0, None)
    name = f"{tmp_path}/.local/share/jupyter/runtime/kernel-{id}.json"
    assert guest.outputs[id][1].decode() == f'{{"key": "k"}}600\n{name}\n'
    assert not Path(name).exists()
    guest.refusal(["no-such-program"], connection={"key": "k"})
    assert list(Path(name).parent.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "error"),
    [
        ("raise ValueError('no')", "ValueError: no"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named"),
    ],
)
def test_a_preload_that_fails_fails_forked_kernels_only(
    start: Start, tmp_path: Path, module: str, error: str
) -> None:
    (tmp_path / "preloaded.py").write_text(module)
    guest = start(preload=["preloaded"], env={"PYTHONPATH": str(tmp_path)})
    guest.hear("ready")
    assert error in guest.refusal(KERNEL, fork=True)
    assert guest.run("echo on") == "on\n"


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "TZ", "LC_ALL", "LD_LIBRARY_PATH"])
def test_a_kernel_is_not_forked_when_its_environment_changes_how_python_starts(
    guest: Guest, name: str
) -> None:
    id = guest.spawn(["echo", "by exec"], fork=True, env={name: "0"})
    assert guest.finish(id) == (0, None)
    assert guest.outputs[id][1] == b"by exec\n"


def test_a_kernel_is_not_forked_from_a_guest_with_threads(start: Start, tmp_path: Path) -> None:
    (tmp_path / "preloaded.py").write_text(
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    guest = start(preload=["preloaded"], env={"PYTHONPATH": str(tmp_path)})
    guest.hear("ready")
    id = guest.spawn(["echo", "by exec"], fork=True)
    assert guest.finish(id) == (0, None)
    assert guest.outputs[id][1] == b"by exec\n"


PRIORITY = (
    "import os, threading\nfound = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())"
)
PRIORITIES = "[__import__('preloaded').found, __import__('os').getpriority(0, 0)]"


@pytest.mark.parametrize(("in_no_hurry", "found"), [(False, None), (True, 19)])
def test_a_spare_sandbox_imports_at_low_priority_and_its_kernels_run_at_the_usual_one(
    start: Start, tmp_path: Path, sockets: str, in_no_hurry: bool, found: int | None
) -> None:
    usual = os.getpriority(os.PRIO_PROCESS, 0)  # a run of the tests may be nice itself
    (tmp_path / "preloaded.py").write_text(PRIORITY)
    env = {"PYTHONPATH": str(tmp_path)}
    guest = start(preload=[*PRELOAD, "preloaded"], env=env, in_no_hurry=in_no_hurry)
    guest.hear("ready")
    guest.spawn(KERNEL, fork=True, connection=connection(f"{sockets}/k"))
    assert ask(f"{sockets}/k", PRIORITIES) == [usual if found is None else found, usual]


def test_what_wants_the_main_thread_is_imported_by_it_in_no_hurry_too(
    start: Start, tmp_path: Path, sockets: str
) -> None:
    (tmp_path / "preloaded.py").write_text(
        "import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)"
    )
    env = {"PYTHONPATH": str(tmp_path)}
    guest = start(preload=[*PRELOAD, "preloaded"], env=env, in_no_hurry=True)
    guest.hear("ready")
    guest.spawn(KERNEL, fork=True, connection=connection(f"{sockets}/k"))
    assert ask(f"{sockets}/k", "'preloaded' in __import__('sys').modules") is True


def test_what_a_preload_prints_does_not_reach_the_attach_stream(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "preloaded.py").write_text("print('noise', flush=True)")
    guest = start(preload=["preloaded"], env={"PYTHONPATH": str(tmp_path)})
    guest.hear("ready")
    assert guest.run("echo on") == "on\n"
    assert guest.stderr.read_text() == "noise\n"


# ---------------------------------------------------------------- what it runs on


@pytest.mark.parametrize("path", sorted(GUEST.glob("*.py")), ids=lambda path: path.name)
def test_it_is_written_in_python_3_8_and_its_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.split(".")[0])
    assert imported - {"ipykernel"} <= sys.stdlib_module_names


def pythons() -> dict[str, str]:
    """``{X.Y: executable}`` of the interpreters on this machine, from 3.8 on."""
    directories = [Path(part) for part in os.environ["PATH"].split(":")]
    directories += Path.home().glob(".pyenv/versions/*/bin")
    found = {}
    for directory in directories:
        for path in (
            *directory.glob("python3"),
            *directory.glob("python3.[0-9]"),
            *directory.glob("python3.[0-9][0-9]"),
        ):
            ask = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"]
            answer = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.split()
            if len(answer) == 2 and tuple(map(int, answer[0].split("."))) >= (3, 8):
                found[answer[0]] = answer[1]
    return found


def test_each_python_of_this_machine_from_3_8_on_runs_it(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "e"
    for version, python in pythons().items():
        guest = start(excludes=[("directory", path)], setup=tmpfs(path), python=python)
        ready = guest.hear("ready")
        assert ".".join(map(str, ready["python"][:2])) == version
        id = guest.spawn(["cat"], stdin=True)
        guest.tell("input", id=id, data=base64.b64encode(b"x").decode())
        guest.tell("input", id=id, data=None)
        assert guest.finish(id) == (0, None), version
        assert guest.refusal([]) == "Invalid argument: no command was given"
        assert guest.end() == 0
