"""Attacks, tried one at a time: ``attacks.py NAME ARGUMENT...`` prints in a word what happened.

It runs inside sandboxes and their controls, on any python3 and with the standard library only.
What is tried is bounded: a control, where nothing stops it, takes no harm.
"""

# Written for the oldest python3 that an image may have, and for few system calls.
# ruff: noqa: PTH103, PTH123, UP031

import ctypes
import errno
import os
import platform
import signal
import socket
import stat
import subprocess
import sys

libc = ctypes.CDLL(None, use_errno=True)

SYSCALLS = {
    "x86_64": {"bpf": 321, "add_key": 248, "clone3": 435},
    "aarch64": {"bpf": 280, "add_key": 217, "clone3": 435},
}
CLONE_ARGUMENTS = ("flags", "pidfd", "child", "parent", "signal", "stack", "size", "tls")
MAP_ARGUMENTS = ("type", "key", "value", "entries", "flags")
CLONE_NEWUSER, CLONE_NEWNS, MNT_DETACH = 0x10000000, 0x20000, 2


def checked(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), "")
    return "done"


def call(name, *arguments):
    return libc.syscall(SYSCALLS[platform.machine()][name], *arguments)


# ------------------------------------------------------- resources


def fork_bomb():
    children = []
    try:
        for _ in range(300):
            pid = os.fork()
            if pid == 0:
                signal.pause()
            children.append(pid)
        return "300 made"
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def memory_bomb():
    taken = bytearray(400 << 20)
    for page in range(0, len(taken), 4096):
        taken[page] = 1
    return "400 MiB taken"


def fill(directory):
    with open(directory + "/fill", "wb", buffering=0) as file:
        for _ in range(48):
            left = 1 << 20
            while left:
                left -= file.write(bytes(left))
    return "48 MiB written"


def fill_inodes(directory):
    for number in range(20000):
        os.close(os.open("%s/%d" % (directory, number), os.O_CREAT | os.O_WRONLY))
    return "20000 made"


def write_file(path):
    with open(path, "a") as file:
        file.write("x")
    return "written"


def open_for_writing(path):
    os.close(os.open(path, os.O_WRONLY))
    return "opened"


def exhaust_descriptors():
    opened = []
    try:
        for _ in range(5000):
            opened.append(os.open("/dev/null", os.O_RDONLY))
        return "5000 opened"
    finally:
        for descriptor in opened:
            os.close(descriptor)


# ------------------------------------------------------- the kernel


def mount():
    os.makedirs("/tmp/mounted", exist_ok=True)
    return checked(libc.mount(b"attack", b"/tmp/mounted", b"tmpfs", 0, None))


def umount(path):
    return checked(libc.umount2(path.encode(), MNT_DETACH))


def unshare():
    return checked(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS))


def clone3():
    class Arguments(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in CLONE_ARGUMENTS]

    arguments = Arguments(flags=CLONE_NEWUSER, signal=signal.SIGCHLD)
    pid = call("clone3", ctypes.byref(arguments), ctypes.sizeof(arguments))
    if pid == 0:
        os._exit(0)
    return checked(pid)


def bpf():
    class Map(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint32) for name in MAP_ARGUMENTS]

    array = Map(type=2, key=4, value=4, entries=1)
    return checked(call("bpf", 0, ctypes.byref(array), ctypes.sizeof(array)))


def add_key():
    process_keyring = ctypes.c_int(-2)
    return checked(call("add_key", b"user", b"moat-attack", b"x", 1, process_keyring))


def mknod():
    os.mknod("/tmp/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    return "done"


def setuid(program):
    """``program`` is a copy of id, setuid, somebody else's."""
    found = int(subprocess.check_output([program, "-u"]))
    return "nothing gained" if found == os.getuid() else "another user's rights gained"


# ------------------------------------------------------- files


def read_any(*paths):
    """Try each; the last refusal when none can be read."""
    for path in paths:
        try:
            with open(path) as file:
                return "read" if file.read() else "empty"
        except OSError as error:
            refusal = error
    raise refusal


def find_engine():
    names = {"docker.sock", "containerd.sock", "podman.sock", "crio.sock"}
    for top in ("/run", "/var/run", "/tmp", "/var/tmp", "/home", "/workspace", "/mnt"):
        for _, _, files in os.walk(top):
            if names & set(files):
                return "found"
    return "none found"


# ------------------------------------------------------- network


def has_network():
    with open("/proc/net/dev") as lines:
        interfaces = {line.split(":")[0].strip() for line in lines if ":" in line}
    with open("/proc/net/route") as lines:
        return interfaces != {"lo"} or len(lines.readlines()) > 1


def connect_metadata():
    """The address from which a cloud's machines get their keys; nothing is sent if it is routed."""
    if has_network():
        return "a network is there"
    with socket.socket() as connection:
        connection.connect(("169.254.169.254", 80))
    return "connected"


def connect_port(port):
    with socket.create_connection(("127.0.0.1", int(port)), 5):
        return "connected"


def connect_abstract(name):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + name)
    return "connected"


def send_udp():
    """To a public address's port of names; nothing is sent where no route is."""
    if has_network():
        return "a network is there"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("192.0.2.1", 53))
    return "sent"


def connect_ipv6():
    if has_network():
        return "a network is there"
    with socket.socket(socket.AF_INET6) as connection:
        try:
            connection.connect(("2001:db8::1", 443))
        except OSError as error:
            if error.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL):  # lo may have no address
                return "no way"
            raise
    return "connected"


def resolve(name):
    """A query with what it is to carry out as a part of the name."""
    if has_network():
        return "a network is there"
    try:
        socket.getaddrinfo("c2VjcmV0." + name, 443)
    except socket.gaierror as error:
        return {-2: "EAI_NONAME", -3: "EAI_AGAIN"}.get(error.errno, str(error))
    return "resolved"


def raw_socket():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    return "done"


def main():
    name, *arguments = sys.argv[1:]
    try:
        print(globals()[name](*arguments))
    except MemoryError:
        print("MemoryError")
    except OSError as error:
        print(errno.errorcode[error.errno])


main()
