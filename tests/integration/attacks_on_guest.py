"""Attacks on one process, tried one at a time: ``attacks_on_guest.py NAME PID`` prints in a word
what happened. ``PID`` is 1 for the guest, or ``child``: a plain process of the attacker's own.

It runs inside sandboxes, on any python3 and with the standard library only.
"""

# Written for the oldest python3 that an image may have.
# ruff: noqa: PTH115, PTH123, PTH208, UP031

import ctypes
import errno
import os
import signal
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
MOMENT = 0.5


def state(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def checked(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), "")


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    time.sleep(MOMENT)
    return "dead" if state(pid) == "Z" else "lives"


def terminate(pid):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGABRT, signal.SIGSEGV):
        os.kill(pid, number)
    time.sleep(MOMENT)
    return "dead" if state(pid) == "Z" else "lives"


def stop(pid):
    for number in (signal.SIGSTOP, signal.SIGTSTP):
        os.kill(pid, number)
    time.sleep(MOMENT)
    return "stopped" if state(pid) == "T" else "runs"


def trace(pid):
    checked(libc.ptrace(PTRACE_ATTACH, pid, None, None))
    os.waitpid(pid, 0)
    libc.ptrace(PTRACE_DETACH, pid, None, None)
    return "attached"


def read_memory(pid):
    with open("/proc/%d/maps" % pid) as maps:
        start = int(maps.readline().split("-")[0], 16)
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
        memory.seek(start)
        return "read" if memory.read(4) else "nothing"


def write_memory(pid):
    os.close(os.open("/proc/%d/mem" % pid, os.O_RDWR))
    return "opened"


def take_descriptors(pid):
    for name in os.listdir("/proc/%d/fd" % pid):
        os.readlink("/proc/%d/fd/%s" % (pid, name))
    return "listed"


def read_environment(pid):
    with open("/proc/%d/environ" % pid, "rb") as file:
        return "read" if file.read() else "nothing"


def main():
    name, victim = sys.argv[1:]
    pid = int(victim) if victim != "child" else os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    try:
        print(globals()[name](pid))
    except OSError as error:
        print(errno.errorcode[error.errno])
    finally:
        if victim == "child":
            os.kill(pid, signal.SIGKILL)


main()
