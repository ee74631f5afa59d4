"""The system-call filter of every container: what Docker Engine's own default allows, and less.

The engine's default differs from version to version (that of 20.10 allows io_uring and sockets of
AF_VSOCK) and allows more to some capabilities; this one is the same everywhere. The data stand in
``seccomp.json``, in the engine's own form. A name that an old libseccomp does not know is no
system call that it would allow either, and is passed over. Programs for another architecture than
the machine's (int 0x80) are killed, as with bubblewrap: their calls have other numbers.
"""

from __future__ import annotations

import functools
import json

from moat_nb.host.package import PACKAGE

__all__ = ["option"]

PROFILE = PACKAGE / "runtimes" / "docker" / "seccomp.json"


@functools.cache
def option(*, podman: bool) -> str:
    """For ``HostConfig.SecurityOpt``: Docker takes the profile itself, Podman a path to it."""
    if podman:
        return f"seccomp={PROFILE}"
    return "seccomp=" + json.dumps(json.loads(PROFILE.read_bytes()), separators=(",", ":"))
