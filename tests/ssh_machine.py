"""What is another machine for its launchers: an ssh server with a network namespace of its own, and
with none of the tests' files but its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.launchers_elsewhere import in_network_of
from tests.ordinary_user import ORDINARY, command
from tests.sshd import sshd, write_program, write_ssh

PORT = 2222

BEGIN = """\
ip link set lo up
mount -t tmpfs moat-tests /mnt
mkdir /mnt/own
mount --bind "$1" /mnt/own
mount -t tmpfs -o mode=0711 moat-tests "$2"
mkdir "$1"
mount --bind /mnt/own "$1"
umount -l /mnt
mount -t tmpfs moat-tests /run
mkdir /run/sshd
shift 2
exec "$@"
"""
"""sshd wants a directory in /run. What is below the second word is the launchers' alone."""

AS_ORDINARY = """\
#!/bin/sh
export XDG_DATA_HOME=PLACE/user/data XDG_CACHE_HOME=PLACE/user/cache HOME=PLACE/user
REVEALED
exec WORDS "$@"
"""


@dataclass(frozen=True, kw_only=True)
class SshMachine:
    directory: Path
    pid: int

    @property
    def nearby(self) -> list[str]:
        """Words in front of a launcher's, which can connect to it then, with its environment."""
        own = {
            "PATH": f"{self.directory}/bin:{os.environ['PATH']}",
            "HOME": f"{self.directory}/home",
            "XDG_RUNTIME_DIR": f"{self.directory}/home",
            "XDG_DATA_HOME": f"{self.directory}/home/data",
        }
        return in_network_of(self.pid, own)

    def python(self, user: str) -> str:
        """What kernels there run on, as ``root`` or as an ordinary ``user``."""
        return sys.executable if user == "root" else str(self.directory / "bin" / "python-of-user")

    def kept(self, user: str) -> Path:
        return self.directory / user / "data" / "moat-nb" / "elsewhere"

    def copies(self, user: str) -> list[str]:
        kept = self.kept(user)
        return sorted(path.name for path in kept.iterdir()) if kept.is_dir() else []

    @property
    def connections(self) -> int:
        return (self.directory / "sshd.log").read_bytes().count(b"Accepted publickey")


@contextlib.contextmanager
def ssh_machine(directory: Path) -> Iterator[SshMachine]:
    """Root only. All that lies beside ``directory`` is not to be seen there."""
    directory.mkdir(mode=0o755)
    for name in ("bin", "home", "root", "user"):
        (directory / name).mkdir()
    os.chown(directory / "user", ORDINARY.uid, ORDINARY.gid)
    data = f"XDG_DATA_HOME={directory}/root/data XDG_CACHE_HOME={directory}/root/cache"
    write_ssh(directory, "127.0.0.1", PORT, more=f"SetEnv {data}")
    _write_python(directory)
    begin = ("sh", "-euc", BEGIN, "begin", str(directory), str(directory.parent))
    try:
        with sshd(directory, ("unshare", "--net", "--mount", *begin)) as process:
            yield SshMachine(directory=directory, pid=process.pid)
    finally:
        shutil.rmtree(directory)


def _write_python(directory: Path) -> None:
    """Of an ordinary user, as whom nobody can log in: sshd knows users by name."""
    words, env = command([sys.executable])
    revealed = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in env.items())
    text = AS_ORDINARY.replace("PLACE", str(directory)).replace("REVEALED", revealed)
    write_program(directory / "bin" / "python-of-user", text.replace("WORDS", shlex.join(words)))
