"""The proof of the mounts: each is tried for real before anything may run."""

from __future__ import annotations

import mmap
import os
import stat
import sys
from typing import Any, Dict, Iterable, List, Sequence, Set, Tuple

from .mountinfo import NOTHING, Mounted, mount_table
from .settings import ProvedMount

TMPFS_MODE = 0o1777

MOST_RUN = 64
"""Excludes in which a program is run for the proof, a millisecond each: all have the same options,
and in each a page is mapped that may be executed, which those forbid as well."""


def sources(mounts: Sequence[ProvedMount]) -> Dict[str, Tuple[str, str, bool]]:
    """What is mounted at each mount point but the excludes: the filesystem's device, the path in
    it, and whether it is read-only there."""
    excludes = {mount.path for mount in mounts if mount.kind in ("directory", "file")}
    return {
        point: (mounted.device, mounted.root, "ro" in mounted.options)
        for point, mounted in mount_table().items()
        if point not in excludes
    }


def prove(mounts: Sequence[ProvedMount]) -> List[Dict[str, Any]]:
    """Try each for real; returns what was found, ``problem`` None where it holds."""
    table = mount_table()
    below = _entries_on_the_way(table)
    proofs = []
    for number, mount in enumerate(mounts):
        if mount.kind == "file":
            proofs.append(_prove_file(mount.path, table))
            continue
        if mount.kind == "volume":
            proofs.append(_prove_volume(mount.path, table))
            continue
        proof, held = _prove_directory(mount.path, table, run=number < MOST_RUN)
        foreign = held - below.get(mount.path, set())
        if foreign and mount.kind == "directory" and proof["problem"] is None:
            proof["problem"] = "it is not empty: it holds %r" % sorted(foreign)[0]
        proofs.append(proof)
    return proofs


def _entries_on_the_way(table: Iterable[str]) -> Dict[str, Set[str]]:
    """The entries of each directory that lead to a mount point, or are one."""
    entries: Dict[str, Set[str]] = {}
    for point in table:
        path = point
        while path not in ("/", ""):
            parent, _, name = path.rpartition("/")
            known = entries.setdefault(parent or "/", set())
            if name in known:
                break
            known.add(name)
            path = parent
    return entries


def _prove_directory(
    path: str, table: Dict[str, Mounted], run: bool
) -> Tuple[Dict[str, Any], Set[str]]:
    """And the names of what is in it."""
    held: Set[str] = set()
    fstype = table.get(path, NOTHING).type
    proof: Dict[str, Any] = {"path": path, "type": fstype or "not a mount", "problem": None}
    try:
        proof.update(measure(path))
        if fstype != "tmpfs":
            proof["problem"] = "it is %s, not a tmpfs of its own" % proof["type"]
            return proof, held
        mode = _set_mode(path)
        proof["mode"] = mode
        held = set(os.listdir(path))
        proof["writable"] = _can_write(path)
        proof["executable"] = proof["writable"] and _can_execute(path, run)
    except OSError as error:
        proof["problem"] = str(error)
        return proof, held
    if mode != TMPFS_MODE:
        proof["problem"] = "its mode is %o, not %o" % (mode, TMPFS_MODE)
    elif not proof["writable"]:
        proof["problem"] = "uid %d cannot write to it" % os.getuid()
    elif not proof["executable"]:
        proof["problem"] = "programs in it cannot be run (noexec)"
    return proof, held


def measure(path: str) -> Dict[str, Any]:
    space = os.statvfs(path)
    size = space.f_blocks * space.f_frsize
    return {
        "mode": stat.S_IMODE(os.stat(path).st_mode),
        "size": size,
        "used": size - space.f_bfree * space.f_frsize,
    }


def _set_mode(path: str) -> int:
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


def _can_execute(path: str, run: bool) -> bool:
    """Map a program from there, and run it: what a library needs, and what a script needs."""
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
        if not run:
            return True
        pid = os.posix_spawn(name, [name], {})
        return os.waitpid(pid, 0)[1] == 42 << 8
    except (OSError, ValueError):
        return False
    finally:
        os.unlink(name)


def _prove_volume(path: str, table: Dict[str, Mounted]) -> Dict[str, Any]:
    """Nothing is written to it: what it holds is the user's, and stays."""
    fstype = table.get(path, NOTHING).type
    writable = os.access(path, os.W_OK | os.X_OK)
    return {"path": path, "type": fstype, "writable": writable, "problem": None}


def _prove_file(path: str, table: Dict[str, Mounted]) -> Dict[str, Any]:
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
