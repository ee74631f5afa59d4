"""Attacks on protected names: ``protected_attacks.py NAME PATH`` prints in a word what happened.

It runs inside sandboxes, in the workspace, on any python3 and with the standard library only.
"""

# Written for the oldest python3 that an image may have.
# ruff: noqa: PTH101, PTH103, PTH104, PTH108, PTH112, PTH118, PTH120
# ruff: noqa: PTH123, PTH211

import ctypes
import errno
import os
import shutil
import sys

PLANTED = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tfsmonitor = ./planted.sh\n"
AT_FDCWD, AT_SYMLINK_FOLLOW, RENAME_EXCHANGE = -100, 0x400, 2

libc = ctypes.CDLL(None, use_errno=True)


def plant(path):
    """Whatever it is for, it is a config of git's that runs ``planted.sh``."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w") as file:
        file.write(PLANTED)


def write(path):
    plant(path if not os.path.isdir(path) else path + "/planted")
    return "done"


def write_hook(path):
    """In place, as the file is there."""
    with open(path, "w") as file:
        file.write("#!/bin/sh\ntouch ran\n")
    return "done"


def replace(path):
    new = os.path.join(os.path.dirname(path), "planted")
    plant(new)
    if os.path.isdir(path):
        os.rename(path, path + ".aside")
    os.rename(new, path)
    return "done"


def exchange(path):
    new = os.path.join(os.path.dirname(path), "planted")
    plant(new)
    if libc.renameat2(AT_FDCWD, new.encode(), AT_FDCWD, path.encode(), RENAME_EXCHANGE) == -1:
        raise OSError(ctypes.get_errno(), "")
    return "done"


def remove(path):
    (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
    return "done"


def rename_parent(path):
    """Move the directory away, and make another in its place, with all but the one file."""
    parent = path.split("/")[0]
    os.rename(parent, "aside")
    shutil.copytree("aside", parent, symlinks=True)
    shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    write(path)
    return "done"


def hard_link(path):
    """By another name of the same file."""
    os.link(path, "another")
    plant("another")
    return "done"


def hard_link_by_descriptor(path):
    descriptor = os.open(path, os.O_RDONLY)
    source = b"/proc/self/fd/%d" % descriptor
    if libc.linkat(AT_FDCWD, source, AT_FDCWD, b"another", AT_SYMLINK_FOLLOW) == -1:
        raise OSError(ctypes.get_errno(), "")
    plant("another")
    return "done"


def link_in_place(path):
    """A link to the outside where a server of the host's writes."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    os.symlink("../outside", path)
    return "done"


def change_mode(path):
    os.chmod(path, 0o777)
    return "done"


def main():
    name, path = sys.argv[1:]
    try:
        print(globals()[name](path))
    except shutil.Error:
        print("EXDEV")
    except OSError as error:
        print(errno.errorcode[error.errno])


main()
