"""Covers of a sandbox of bubblewrap's that bubblewrap itself would take too long for, or not take.

It reads the whole mount table for each bind, and takes 9000 words at most. So where there are many
excludes a program of ours mounts them, in the sandbox's mount namespace, in which nothing runs yet
but a shell that waits. Run as a program, this file is that program: it needs no more rights than
who made the namespace has, and the standard library.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import sys
from typing import Any

MANY = 128
"""Covers from which on bubblewrap does not mount them."""

WAIT = 'echo; read line; exec "$@"'
"""What runs in the sandbox until the covers are there: it says so, and waits for a line."""

NS_GET_USERNS = 0xB701
"""Of linux/nsfs.h: the user namespace that a namespace belongs to."""
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_NOSUID, MS_NODEV, MS_BIND = 2, 4, 4096


def cover(order: dict[str, Any]) -> None:
    """``pid``: of a process in the namespace; ``user``: whose it is; ``tmpfs``: paths with their
    sizes; ``files``: paths that ``empty``, an empty file there, covers."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: Any) -> None:
        if getattr(libc, name)(*arguments) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fsdecode(arguments[1] or b""))

    namespace = os.open(f"/proc/{order['pid']}/ns/mnt", os.O_RDONLY)
    owner = fcntl.ioctl(namespace, NS_GET_USERNS)
    uid, gid = order["user"]
    if os.getuid() != uid:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    for descriptor, kind in ((owner, CLONE_NEWUSER), (namespace, CLONE_NEWNS)):
        if libc.setns(descriptor, kind) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    for path, size in order["tmpfs"]:
        options = f"mode={order['mode']:o},size={size}".encode()
        call("mount", b"tmpfs", os.fsencode(path), b"tmpfs", MS_NOSUID | MS_NODEV, options)
    for path in order["files"]:
        call("mount", os.fsencode(order["empty"]), os.fsencode(path), None, MS_BIND, None)


if __name__ == "__main__":
    try:
        cover(json.load(sys.stdin))
    except OSError as error:
        sys.exit(f"{error.filename or 'namespace'}: {error.strerror}")
