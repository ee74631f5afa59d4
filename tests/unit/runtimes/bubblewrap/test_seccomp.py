"""The seccomp filter: as a program, by an interpreter of it, and in force, by real programs."""

import errno
import json
import os
import platform
import struct
import subprocess
import sys
import textwrap
import zipfile

import pytest

from moat_nb.errors import RuntimeUnavailable
from moat_nb.runtimes.bubblewrap import seccomp

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50000 | 1, 0x50000 | 38
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def judge(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the kernel would do: the program interpreted over a struct seccomp_data."""
    arch = ARCHES[machine] if arch is None else arch
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=iIQ6Q", number, arch, 0, *(a & (2**64 - 1) for a in padded))
    code = list(struct.iter_unpack("=HBBI", seccomp.program(machine)))
    accumulator = position = 0
    while True:
        operation, when_true, when_false, operand = code[position]
        position += 1
        if operation == 0x06:
            return operand
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, operand)
            continue
        jumps = {
            0x15: accumulator == operand,
            0x25: accumulator > operand,
            0x45: bool(accumulator & operand),
        }
        position += when_true if jumps[operation] else when_false


# name: number on x86_64, on aarch64 (the kernel's tables, written down apart from the module)
DENIED = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "setns": (308, 268),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "bpf": (321, 280),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "open_by_handle_at": (304, 265),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "move_mount": (429, 429),
    "mount_setattr": (442, 442),
    "pidfd_getfd": (438, 438),
}
ALLOWED = {
    "read": (0, 63),
    "execve": (59, 221),
    "ptrace": (101, 117),
    "memfd_create": (319, 279),
    "rseq": (334, 293),
    "openat2": (437, 437),
    "futex_waitv": (449, 449),
    "landlock_restrict_self": (446, 446),
}


@pytest.mark.parametrize("column, machine", list(enumerate(ARCHES)))
def test_denied_calls_are_refused_and_ordinary_ones_are_not(column, machine):
    refused = {name: judge(machine, numbers[column]) for name, numbers in DENIED.items()}
    assert refused == dict.fromkeys(DENIED, EPERM)
    passed = {name: judge(machine, numbers[column]) for name, numbers in ALLOWED.items()}
    assert passed == dict.fromkeys(ALLOWED, ALLOW)


@pytest.mark.parametrize("column, machine", list(enumerate(ARCHES)))
def test_a_call_is_judged_by_its_argument(column, machine):
    clone, ioctl, socket, personality = (
        pair[column] for pair in ((56, 220), (16, 29), (41, 198), (135, 92))
    )
    thread_flags, newuser = 0x3D0F00, 0x10000000
    assert judge(machine, clone, thread_flags) == ALLOW
    assert judge(machine, clone, thread_flags | newuser) == EPERM
    assert judge(machine, 435) == ENOSYS
    assert judge(machine, ioctl, 0, 0x5401) == ALLOW
    assert judge(machine, ioctl, 0, 0x5412) == EPERM
    # The kernel looks at the lower half of ioctl's request only.
    assert judge(machine, ioctl, 0, 0x1_0000_5412) == EPERM
    families = {family: judge(machine, socket, family) for family in (1, 2, 10, 16, 38, 39, 40)}
    assert families == {1: ALLOW, 2: ALLOW, 10: ALLOW, 16: ALLOW, 38: EPERM, 39: ALLOW, 40: EPERM}
    assert [judge(machine, personality, value) for value in (0, 0xFFFFFFFF)] == [ALLOW, ALLOW]
    assert judge(machine, personality, 0x0040000) == EPERM  # ADDR_NO_RANDOMIZE


@pytest.mark.parametrize("machine", list(ARCHES))
def test_calls_younger_than_the_list_do_not_exist(machine):
    assert judge(machine, 466) == ALLOW
    assert judge(machine, 467) == ENOSYS
    assert judge(machine, 0x40000000 + 165) == ENOSYS  # x32's mount


@pytest.mark.parametrize("machine", list(ARCHES))
def test_the_calls_of_another_architecture_end_the_process(machine):
    i386 = 0x40000003
    assert judge(machine, 0, arch=i386) == KILL


def test_a_machine_without_a_table_gets_no_silent_sandbox():
    with pytest.raises(RuntimeUnavailable, match="no seccomp filter for riscv64"):
        seccomp.program("riscv64")


# ------------------------------------------------------------------ in force, on this machine

HERE = list(ARCHES).index(platform.machine())


def under_filter(tmp_path, *argv, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``argv`` under bubblewrap and the filter, with all other namespaces left alone."""
    fd = os.memfd_create("seccomp")
    os.write(fd, seccomp.program(platform.machine()))
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        bwrap = ["bwrap", "--dev-bind", "/", "/", "--seccomp", str(fd), "--chdir", str(tmp_path)]
        return subprocess.run(
            [*bwrap, *argv],
            pass_fds=[fd],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            input=stdin,
        )
    finally:
        os.close(fd)


ATTEMPTS = r"""
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
answers = {}
for name, (number, *arguments) in json.loads(sys.argv[1]).items():
    ctypes.set_errno(0)
    result = libc.syscall(number, *(ctypes.c_long(argument) for argument in arguments))
    answers[name] = ctypes.get_errno() if result == -1 else 0
print(json.dumps(answers))
"""


def attempts() -> dict[str, list[int]]:
    """Calls that any user may make, with arguments that do no harm where they are allowed."""
    numbers = {name: pair[HERE] for name, pair in DENIED.items()}
    clone, ioctl, socket, personality = (
        pair[HERE] for pair in ((56, 220), (16, 29), (41, 198), (135, 92))
    )
    nowhere = -1
    return {
        "unshare(0)": [numbers["unshare"], 0],
        "setns(-1)": [numbers["setns"], nowhere, 0],
        "keyctl": [numbers["keyctl"], 0, -3, 0],
        "clone(NEWUSER|SIGHAND)": [clone, 0x10000000 | 0x800],
        "clone3": [435, 0, 0],
        "ioctl(TIOCSTI)": [ioctl, nowhere, 0x5412, 0],
        "socket(AF_ALG)": [socket, 38, 5, 0],
        "socket(AF_VSOCK)": [socket, 40, 1, 0],
        "personality(0x40000)": [personality, 0x0040000],
        "a call of the future": [600],
    }


@pytest.mark.machine
def test_denied_calls_fail_in_force_and_reach_the_kernel_without_the_filter(tmp_path):
    argv = [sys.executable, "-c", ATTEMPTS, json.dumps(attempts())]
    inside = json.loads(under_filter(tmp_path, *argv).stdout)
    absent = {"clone3", "a call of the future"}
    assert inside == {name: errno.ENOSYS if name in absent else errno.EPERM for name in attempts()}
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    outside = json.loads(done.stdout)
    # The control: the kernel itself answers otherwise, so it is the filter that refused.
    assert outside.pop("a call of the future") == errno.ENOSYS
    assert [name for name, answer in outside.items() if answer == inside[name]] == []


@pytest.mark.machine
@pytest.mark.parametrize(
    "code",
    [
        "import threading; t = threading.Thread(target=print, args=('ok',)); t.start(); t.join()",
        "import subprocess; subprocess.run(['sh', '-c', 'echo ok'], check=True)",
        "import multiprocessing as m; p = m.get_context('fork').Process(target=print, "
        "args=('ok',)); p.start(); p.join()",
        "import os, pty; master, _ = pty.openpty(); os.isatty(master); print('ok')",
        "import socket; a, b = socket.socketpair(); socket.socket(); print('ok')",
        "import asyncio; asyncio.run(asyncio.sleep(0)); print('ok')",
        "import ctypes, platform; ctypes.CDLL(None).personality(0xFFFFFFFF); print('ok')",
    ],
)
def test_ordinary_programs_run_under_the_filter(tmp_path, code):
    done = under_filter(tmp_path, sys.executable, "-c", code)
    assert (done.stdout, done.stderr, done.returncode) == ("ok\n", "", 0)


@pytest.mark.machine
def test_pip_installs_a_wheel_under_the_filter(tmp_path):
    wheel = tmp_path / "hello-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("hello.py", "print('hello')\n")
        archive.writestr("hello-1.dist-info/METADATA", "Name: hello\nVersion: 1\n")
        archive.writestr(
            "hello-1.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("hello-1.dist-info/RECORD", "")
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-cache-dir", "--target"]
    quiet = ["--disable-pip-version-check", "--root-user-action=ignore"]
    done = under_filter(tmp_path, *pip, str(tmp_path / "site"), *quiet, str(wheel))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/hello.py").read_text() == "print('hello')\n"


@pytest.mark.machine
def test_native_programs_are_built_of_processes_and_pipes_under_the_filter(tmp_path):
    script = textwrap.dedent(
        """
        set -e
        tar -cf - /etc/hostname 2>/dev/null | tar -tf - >/dev/null
        if command -v node >/dev/null; then
          test "$(node -e 'setTimeout(() => console.log(1), 1)')" = 1
        fi
        find /usr/bin -name sh | sort | head -1 | xargs ls -l >/dev/null
        echo ok
        """
    )
    assert under_filter(tmp_path, "sh", stdin=script).stdout == "ok\n"
