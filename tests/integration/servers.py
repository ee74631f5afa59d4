"""A real Jupyter server with a project's kernelspec, and the guests of its sandboxes."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import ordinary_user
from tests.served import address, noted

START_SECONDS = 300
ANSWER_SECONDS = 300
"""Far more than a server may take, on a machine that has much else to do."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that runs; ``process`` is its own."""

    process: subprocess.Popen[bytes]
    url: str
    token: str
    kernel: str
    """The kernelspec's name."""
    log: Path

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What it answers, from JSON; HTTPError when it refuses."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return json.loads(answer.read() or b"null")

    def start_kernel(self) -> str:
        """A kernel's id, once its process runs."""
        return str(self.ask("POST", "api/kernels", {"name": self.kernel})["id"])

    def kernels(self) -> list[str]:
        return [kernel["id"] for kernel in self.ask("GET", "api/kernels")]


@contextlib.contextmanager
def serving(project: Path, runtime: str, directory: Path, *, ordinary: bool) -> Iterator[Server]:
    """A server of root's, or of an ordinary user's where the tests run as root."""
    home = directory / f"server-{secrets.token_hex(4)}"
    home.mkdir(mode=0o700)
    if ordinary and os.getuid() == 0:
        os.chown(home, ordinary_user.ORDINARY.uid, ordinary_user.ORDINARY.gid)
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_PATH": str(home / "prefix/share/jupyter"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        **{name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ},
    }
    log, token = home / "log", secrets.token_hex(16)
    install = ("install", str(project), "--prefix", str(home / "prefix"), "--runtime", runtime)
    installed = _start((sys.executable, "-m", "moat_nb", *install), project, env, log, ordinary)
    assert installed.wait(START_SECONDS) == 0, log.read_text()
    options = ("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--ServerApp.allow_root=True")
    argv = (sys.executable, "-m", "jupyter_server", "--no-browser", *options)
    process = _start((*argv, f"--IdentityProvider.token={token}"), project, env, log, ordinary)
    try:
        url = address(process, log, noted(home / "runtime"))
        (spec,) = (home / "prefix/share/jupyter/kernels").iterdir()
        yield Server(process=process, url=url, token=token, kernel=spec.name, log=log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _start(
    argv: tuple[str, ...], project: Path, env: dict[str, str], log: Path, ordinary: bool
) -> subprocess.Popen[bytes]:
    extra: dict[str, str] = {}
    words = list(argv)
    if ordinary:
        words, extra = ordinary_user.command(argv)
    with log.open("ab") as file:
        return subprocess.Popen(words, cwd=project, env={**env, **extra}, stdout=file, stderr=file)


def guest_of(project: Path) -> int:
    """The pid, on this machine, of the guest in the one sandbox of ``project``."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"/python" in b"/" + words[0] and words[1] == b"/run/moat/guest":
                began = int((process / "stat").read_text().rpartition(")")[2].split()[19])
                if _has_workspace(process, project):
                    found[began, int(process.name)] = int(process.name)
    assert found, f"no guest of {project}"
    return found[min(found)]


def _has_workspace(process: Path, project: Path) -> bool:
    lines = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    return any(line[4] == "/workspace" and str(project).endswith(line[3]) for line in lines)
