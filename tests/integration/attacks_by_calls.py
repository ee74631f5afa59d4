"""System calls that lead out of a sandbox: ``attacks_by_calls.py NAME`` prints in a word what
happened. Anything but EPERM means that the filter let it through to the kernel.

It runs inside sandboxes and where no filter is, on any python3 and with the standard library only.
"""

import ctypes
import errno
import os
import platform
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER = 425, 426, 427
AF_UNIX, AF_ALG, AF_VSOCK = 1, 38, 40
STREAM, SEQPACKET = 1, 5
ABOVE = 1 << 32


def call(number, *arguments):
    found = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    if found >= 0:
        os.close(found)
        return "done"
    code = ctypes.get_errno()
    return "EPERM" if code == errno.EPERM else "reached the kernel"


def io_uring_setup():
    parameters = ctypes.create_string_buffer(256)
    return call(IO_URING_SETUP, 8, ctypes.addressof(parameters))


def io_uring_enter():
    return call(IO_URING_ENTER, -1, 0, 0, 0, 0, 0)


def io_uring_register():
    return call(IO_URING_REGISTER, -1, 0, 0, 0)


def vsock():
    return call(SOCKET, AF_VSOCK, STREAM, 0)


def vsock_in_disguise():
    """The kernel takes 32 bits of a family, and a careless filter compares 64."""
    return call(SOCKET, AF_VSOCK + ABOVE, STREAM, 0)


def alg():
    return call(SOCKET, AF_ALG, SEQPACKET, 0)


def alg_in_disguise():
    return call(SOCKET, AF_ALG + ABOVE, SEQPACKET, 0)


def unix():
    """The mirror case: what programs need goes on working."""
    return call(SOCKET, AF_UNIX, STREAM, 0)


print(globals()[sys.argv[1]]())
