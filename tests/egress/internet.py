"""An internet of the test's own: two network namespaces and a wire between them.

In ``world`` stand the hosts, with addresses that look public, and a name server. In ``here`` runs
the proxy, as on a launcher's machine. No packet leaves either.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.egress.certificates import write_authority

PUBLIC, OTHER, PUBLIC6 = "11.0.0.1", "11.0.0.3", "2a00:11::1"
PRIVATE, METADATA = "10.9.9.9", "169.254.169.254"
HERE = "11.0.0.2"
"""The launcher's machine's own."""
DEAD = "11.0.0.77"
"""Nobody has it."""

NAMES: dict[str, list[list[str]]] = {
    "pypi.test": [[PUBLIC]],
    "six.test": [[PUBLIC6]],
    "both.test": [[PUBLIC6, PUBLIC]],
    "halfdead.test": [[DEAD, PUBLIC]],
    "dead.test": [[DEAD]],
    "other.test": [[OTHER]],
    "registry.test": [[PUBLIC]],
    "blobs.test": [[OTHER]],
    "api.github.test": [[PUBLIC]],
    "loopback.test": [["127.0.0.1"]],
    "metadata.test": [[METADATA]],
    "private.test": [[PRIVATE]],
    "mixed.test": [[PUBLIC, PRIVATE]],
    "mapped.test": [["::ffff:10.0.0.1"]],
    "mapped-public.test": [["::ffff:11.0.0.1"]],
    "nat64.test": [["64:ff9b::10.9.9.9"]],
    "own.test": [[HERE]],
    "rebinding.test": [[PUBLIC], [PRIVATE]],
    "silent.test": [["silent"]],
    "unasked.test": [[PUBLIC], [PRIVATE]],
}

_WIRE = f"""\
set -eu
ip link add wire type veth peer name wire netns "$WORLD"
ip link set lo up
ip addr add {HERE}/24 dev wire
ip addr add 2a00:11::2/64 dev wire nodad
ip link set wire up
ip route add {PRIVATE} dev wire
ip route add {METADATA} dev wire
mount --bind "$FILES/resolv.conf" /etc/resolv.conf
mount --bind "$FILES/hosts" /etc/hosts
nsenter --target "$WORLD" --net sh -eu -c '
  ip link set lo up
  for address in {PUBLIC}/24 {OTHER}/24 {PRIVATE}/32 {METADATA}/32; do
    ip addr add $address dev wire
  done
  ip addr add {PUBLIC6}/64 dev wire nodad
  ip link set wire up'
echo up
exec sleep infinity
"""


@dataclass(frozen=True, kw_only=True)
class Internet:
    here: int
    """A process in the launcher's namespaces."""
    authority: Path
    """Of the hosts' certificates."""

    def on_this_machine(self, *command: str) -> list[str]:
        return ["nsenter", "--target", str(self.here), "--net", "--mount", "--", *command]


@contextlib.contextmanager
def internet(directory: Path) -> Iterator[Internet]:
    """Root only; gone with its two processes."""
    (directory / "resolv.conf").write_text(f"nameserver {PUBLIC}\noptions timeout:1 attempts:2\n")
    (directory / "hosts").write_text("127.0.0.1 localhost\n")
    authority, certificate = write_authority(directory, [*NAMES, "inner.behind.test"])
    with contextlib.ExitStack() as undo:
        environ = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        world = _held(
            undo, ["unshare", "--net", sys.executable, "-m", "tests.egress.world"], environ
        )
        _await_namespace(world.pid)
        environ |= {"WORLD": str(world.pid), "FILES": str(directory)}
        assert world.stdin is not None and world.stdout is not None
        here = _held(undo, ["unshare", "--net", "--mount", "sh", "-c", _WIRE], environ)
        assert here.stdout is not None
        assert here.stdout.readline() == b"up\n"
        given = {"certificate": str(certificate), "names": NAMES}
        world.stdin.write(json.dumps(given).encode() + b"\n")
        world.stdin.flush()
        assert world.stdout.readline() == b"ready\n"
        yield Internet(here=here.pid, authority=authority)


def _await_namespace(pid: int) -> None:
    """Until it has a network of its own: before, the wire would lead to this machine's."""
    give_up = time.monotonic() + 60
    ours = Path("/proc/self/ns/net").readlink()
    while Path(f"/proc/{pid}/ns/net").readlink() == ours:
        assert time.monotonic() < give_up
        time.sleep(0.01)


def _held(
    undo: contextlib.ExitStack, command: list[str], environ: dict[str, str]
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "SIGKILL", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
    )
    undo.enter_context(process)
    undo.callback(process.kill)
    return process
