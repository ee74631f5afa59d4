"""Attacks on the host's memory: ``memory_attacks.py NAME`` prints in words what happened.

It runs inside sandboxes and their controls, on any python3 and with the standard library only. Each
takes 400 MiB at the most, so that a control takes no harm.
"""

# ruff: noqa: PTH123, UP031

import mmap
import os
import signal
import sys
import time

MIB = 1 << 20
TAKEN = "400 MiB taken"


def touch(memory, size):
    for page in range(0, size, 4096):
        memory[page] = 1


def shared_mapping():
    """Of no process's data, so no rlimit on those counts it."""
    touch(mmap.mmap(-1, 400 * MIB, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS), 400 * MIB)
    return TAKEN


def memory_file():
    descriptor = os.memfd_create("attack")
    for _ in range(400):
        left = MIB
        while left:
            left -= os.write(descriptor, bytes(left))
    return TAKEN


def many_processes():
    """Eight times 50 MiB, each below any limit of its own."""
    children = []
    for _ in range(8):
        readable, writable = os.pipe()
        pid = os.fork()
        if pid == 0:
            memory = bytearray(50 * MIB)  # held: what touch() alone has is given back behind it
            touch(memory, len(memory))
            os.write(writable, b"x")
            signal.pause()
        os.close(writable)
        children.append((pid, readable))
    had = [os.read(readable, 1) == b"x" for _, readable in children]
    # One that had its memory may be killed for what another takes later, and take a while to end.
    alive, give_up = [pid for pid, _ in children], time.monotonic() + 10
    while len(alive) == len(children) and time.monotonic() < give_up:
        time.sleep(0.1)
        alive = [pid for pid in alive if os.waitpid(pid, os.WNOHANG) == (0, 0)]
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return TAKEN if all(had) and len(alive) == len(children) else "OOM-killed"


def scratch(*directories):
    """Each tmpfs has a size, and together they have more than the limit."""
    written = 0
    for directory in directories:
        try:
            with open(directory + "/fill", "wb", buffering=0) as file:
                while written < 400 * MIB:
                    written += file.write(bytes(MIB))
        except OSError:
            continue
    return "%d MiB taken" % (written // MIB)


def main():
    name, *arguments = sys.argv[1:]
    print(globals()[name](*arguments))


main()
