"""What is another machine for its launchers: an ssh server with a network namespace of its own, and
with none of the tests' files but its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.ordinary_user import ORDINARY, command

PORT = 2222

SSHD = f"""\
ListenAddress 127.0.0.1:{PORT}
HostKey PLACE/host-key
AuthorizedKeysFile PLACE/user-key.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
SetEnv XDG_DATA_HOME=PLACE/root/data XDG_CACHE_HOME=PLACE/root/cache
"""
SSH = f"""\
Host gpu
  HostName 127.0.0.1
  Port {PORT}
  User root
  IdentityFile PLACE/user-key
  UserKnownHostsFile PLACE/known
  StrictHostKeyChecking accept-new
"""

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
        enter = ["nsenter", "--net", f"--target={self.pid}", "env", "-u", "DOCKER_HOST"]
        return [*enter, *(f"{name}={value}" for name, value in own.items())]

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
    _write_files(directory)
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert sshd is not None
    serve = (sshd, "-D", "-e", "-f", str(directory / "sshd_config"))
    begin = ("sh", "-euc", BEGIN, "begin", str(directory), str(directory.parent))
    with (directory / "sshd.log").open("wb") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "SIGKILL", "unshare", "--net", "--mount", *begin, *serve],
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
    with process:
        try:
            give_up = time.monotonic() + 60
            while b"Server listening" not in (directory / "sshd.log").read_bytes():
                assert process.poll() is None and time.monotonic() < give_up
                time.sleep(0.05)
            yield SshMachine(directory=directory, pid=process.pid)
        finally:
            process.kill()
    shutil.rmtree(directory)


def _write_files(directory: Path) -> None:
    for name in ("host-key", "user-key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(words, check=True)
    for name, text in (("sshd_config", SSHD), ("ssh_config", SSH)):
        (directory / name).write_text(text.replace("PLACE", str(directory)))
    # It takes no file from the environment, and a user's own is in the user's home.
    _program(
        directory / "bin" / "ssh",
        f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{directory}/ssh_config" "$@"\n',
    )
    words, env = command([sys.executable])
    revealed = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in env.items())
    text = AS_ORDINARY.replace("PLACE", str(directory)).replace("REVEALED", revealed)
    _program(directory / "bin" / "python-of-user", text.replace("WORDS", shlex.join(words)))


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
