"""An ssh server of the tests' own, and an ``ssh`` that finds it as ``gpu``."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template

SSHD = """\
ListenAddress $ADDRESS:$PORT
HostKey $PLACE/host-key
AuthorizedKeysFile $PLACE/user-key.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
$MORE
"""
SSH = """\
Host gpu
  HostName $ADDRESS
  Port $PORT
  User root
  IdentityFile $PLACE/user-key
  UserKnownHostsFile $PLACE/known
  StrictHostKeyChecking accept-new
"""


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def write_ssh(directory: Path, address: str, port: int, more: str = "") -> None:
    """Keys, both sides' settings, and ``bin/ssh``; ``more`` are further lines of the server's."""
    for name in ("host-key", "user-key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(words, check=True)
    known = {"ADDRESS": address, "PORT": str(port), "MORE": more, "PLACE": str(directory)}
    for name, text in (("sshd_config", SSHD), ("ssh_config", SSH)):
        (directory / name).write_text(Template(text).substitute(known))
    # It takes no file from the environment, and a user's own is in the user's home.
    (directory / "bin").mkdir(exist_ok=True)
    real = shutil.which("ssh")
    text = f'#!/bin/sh\nexec {real} -F "{directory}/ssh_config" "$@"\n'
    write_program(directory / "bin" / "ssh", text)


@contextlib.contextmanager
def sshd(directory: Path, before: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The server of ``directory``; ``before`` are words that start it on its machine."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    serve = (program, "-D", "-e", "-f", str(directory / "sshd_config"))
    with (directory / "sshd.log").open("wb") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "SIGKILL", *before, *serve],
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
    with process:
        try:
            give_up = time.monotonic() + 60
            while b"Server listening" not in (directory / "sshd.log").read_bytes():
                assert process.poll() is None and time.monotonic() < give_up
                time.sleep(0.05)
            yield process
        finally:
            process.kill()
