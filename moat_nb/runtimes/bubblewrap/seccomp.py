"""The seccomp filter of a bubblewrap sandbox, as a classic BPF program.

It denies what the default profile of Docker Engine denies to a container without capabilities,
so that a notebook finds the same on both. bubblewrap itself brings no filter. The program is a
deny list below a ceiling: a system call younger than the list does not exist for the sandbox.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from moat_nb.errors import RuntimeUnavailable

__all__ = ["MACHINES", "program"]


@dataclass(frozen=True, kw_only=True)
class _Machine:
    audit_arch: int
    """AUDIT_ARCH_* of linux/audit.h."""
    column: int
    """Which number of ``_CALLS`` is this machine's."""


_MACHINES = {
    "x86_64": _Machine(audit_arch=0xC000003E, column=0),
    "aarch64": _Machine(audit_arch=0xC00000B7, column=1),
}
MACHINES = frozenset(_MACHINES)
"""The values of ``os.uname().machine`` for which there is a program."""

_NEWEST = 466
"""removexattrat, the last system call that Docker's profile knows (moby/profiles, June 2026)."""

_DENIED: dict[str, tuple[int | None, int | None]] = {
    "_sysctl": (156, None),
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_mempolicy": (239, 236),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "lsm_get_self_attr": (459, 459),
    "lsm_list_modules": (461, 461),
    "lsm_set_self_attr": (460, 460),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
}
"""Name to its number on x86_64 and aarch64, None where it does not exist; from Linux's
arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h."""

_CLONE, _CLONE3 = (56, 220), (435, 435)
_IOCTL, _SOCKET, _PERSONALITY = (16, 29), (41, 198), (135, 92)

_NAMESPACES = 0x7E020000
"""CLONE_NEWNS|NEWCGROUP|NEWUTS|NEWIPC|NEWUSER|NEWPID|NEWNET of linux/sched.h."""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
"""Both can type into the terminal that the launcher may share (CVE-2017-5226, CVE-2023-28100)."""
_AF_ALG, _AF_VSOCK = 38, 40
"""Docker denies both: the kernel's crypto API, and a way out to the hypervisor."""
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Docker's: PER_LINUX, PER_LINUX32, both with UNAME26, and the query."""

# linux/bpf_common.h and linux/seccomp.h
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_SET, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data. An argument is 8 bytes, little-endian on both machines; each
one looked at here is an int to the kernel, which ignores the upper half as this does."""
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS


def program(machine: str) -> bytes:
    """The filter for ``machine``, an array of struct sock_filter for ``bwrap --seccomp``.

    Raises RuntimeUnavailable for a machine whose system calls are not in the tables: a sandbox
    without a filter is never started in silence.
    """
    if machine not in _MACHINES:
        raise RuntimeUnavailable(
            f"bubblewrap: there is no seccomp filter for {machine}, only for "
            f"{', '.join(sorted(MACHINES))}; use docker"
        )
    return b"".join(_instructions(_MACHINES[machine]))


def _instructions(machine: _Machine) -> Iterator[bytes]:
    column = machine.column
    # Another architecture's calls (int 0x80) have other numbers and would pass the list below.
    yield _load(_ARCH)
    yield from _unless_equal(machine.audit_arch, _KILL)
    yield _load(_NUMBER)
    # Also x32, whose numbers are 2**30 and above.
    yield _op(_JUMP_GREATER, _NEWEST, 0, 1)
    yield _op(_RETURN, _ENOSYS)
    # The C library tries clone3 first and takes clone when it does not exist, as in Docker: the
    # flags of clone3 lie in memory, where a filter cannot see them.
    yield from _when_equal(_CLONE3[column], _ENOSYS)
    for numbers in _DENIED.values():
        number = numbers[column]
        if number is not None:
            yield from _when_equal(number, _EPERM)
    yield from _argument(_CLONE[column], 0, [(_JUMP_SET, _NAMESPACES, _EPERM)], _ALLOW)
    yield from _argument(_IOCTL[column], 1, _cases(_EPERM, _TIOCSTI, _TIOCLINUX), _ALLOW)
    yield from _argument(_SOCKET[column], 0, _cases(_EPERM, _AF_ALG, _AF_VSOCK), _ALLOW)
    yield from _argument(_PERSONALITY[column], 0, _cases(_ALLOW, *_PERSONALITIES), _EPERM)
    yield _op(_RETURN, _ALLOW)


def _cases(verdict: int, *values: int) -> list[tuple[int, int, int]]:
    return [(_JUMP_EQUAL, value, verdict) for value in values]


def _argument(
    number: int, index: int, cases: list[tuple[int, int, int]], otherwise: int
) -> Iterator[bytes]:
    """A call that is judged by one argument: ``cases`` are (jump, operand, verdict)."""
    yield _op(_JUMP_EQUAL, number, 0, 2 + 2 * len(cases))
    yield _load(_ARGUMENTS + 8 * index)
    for jump, operand, verdict in cases:
        yield _op(jump, operand, 0, 1)
        yield _op(_RETURN, verdict)
    yield _op(_RETURN, otherwise)


def _when_equal(value: int, verdict: int) -> tuple[bytes, bytes]:
    return _op(_JUMP_EQUAL, value, 0, 1), _op(_RETURN, verdict)


def _unless_equal(value: int, verdict: int) -> tuple[bytes, bytes]:
    return _op(_JUMP_EQUAL, value, 1, 0), _op(_RETURN, verdict)


def _load(offset: int) -> bytes:
    return _op(_LOAD, offset)


def _op(code: int, operand: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, when_true, when_false, operand)
