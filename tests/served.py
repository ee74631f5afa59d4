"""Jupyter servers for the tests: ours by the command line, and an ordinary one as its control."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moat_nb.host.machine import User
from tests.ordinary_user import ORDINARY, command

START_SECONDS = 300
END_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running server; ``log`` is what it printed."""

    host: str
    port: int
    token: str
    log: Path
    home: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/"

    def __call__(
        self, method: str, path: str, body: Any = None, *, host: str | None = None
    ) -> tuple[int, Any]:
        """What a page of its own would be answered: the status, and JSON or bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        headers = {
            "Host": f"{host or self.host}:{self.port}",
            "Authorization": f"token {self.token}",
        }
        data = None if body is None else json.dumps(body)
        with contextlib.closing(connection):
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            text = response.read()
        with contextlib.suppress(ValueError):
            return response.status, json.loads(text)
        return response.status, text

    def end(self, signum: int = signal.SIGTERM) -> int:
        """The exit code, once it has ended by the signal."""
        self.process.send_signal(signum)
        return self.process.wait(timeout=END_SECONDS)


@contextlib.contextmanager
def served(words: list[str], *, home: Path, cwd: Path, **extra: str) -> Iterator[Served]:
    """A server that ``python WORDS`` is, run by an ordinary user whose home is ``home``."""
    home.mkdir(exist_ok=True)
    if os.getuid() == 0:
        os.chown(home, ORDINARY.uid, ORDINARY.gid)
    argv, env = command([sys.executable, *words])
    env = {"PATH": os.environ["PATH"], "HOME": str(home), **env, **extra}
    if "DOCKER_HOST" in os.environ:
        env.setdefault("DOCKER_HOST", os.environ["DOCKER_HOST"])
    log = home / f"log-{time.monotonic_ns()}"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
    try:
        url = address(process, log, lambda: _printed(log))
        parts = urllib.parse.urlsplit(url)
        (token,) = urllib.parse.parse_qs(parts.query)["token"]
        assert parts.hostname and parts.port
        yield Served(
            host=parts.hostname, port=parts.port, token=token, log=log, home=home, process=process
        )
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=END_SECONDS)


def address(process: subprocess.Popen[bytes], log: Path, told: Callable[[], str | None]) -> str:
    """What the server told of its URL, once it is true: Jupyter tells of it before it listens."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        url = told()
        if url and _is_listening(url):
            return url
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _is_listening(url: str) -> bool:
    port = urllib.parse.urlsplit(url).port
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _printed(log: Path) -> str | None:
    found = re.search(r"http://[\w.-]+:\d+/\S*token=\w+", log.read_text(errors="replace"))
    return found and found[0]


def noted(runtime: Path) -> Callable[[], str | None]:
    """Where Jupyter's one server with the runtime directory notes its URL; None before."""

    def told() -> str | None:
        for path in runtime.glob("jpserver-*.json"):
            with contextlib.suppress(ValueError):  # half written
                return str(json.loads(path.read_text())["url"])
        return None

    return told


def ours(front_end: str, project: Path, runtime: str, home: Path, **extra: str) -> Any:
    """``moat-nb lab`` or ``notebook`` on any free port."""
    words = ["-m", "moat_nb", front_end, str(project), "--no-browser", "--runtime", runtime]
    return served(words, home=home, cwd=project, **extra)


def plain(front_end: str, project: Path, home: Path, **extra: str) -> Any:
    """The control: Jupyter's own server in the project's directory."""
    words = [
        *("-m", "jupyter", front_end, "--no-browser", "--ServerApp.port=0"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={project}"),
        *("--ContentsManager.allow_hidden=True", "--ServerApp.terminals_enabled=True"),
    ]
    return served(words, home=home, cwd=project, **extra)


def home_of(directory: Path) -> Path:
    """A home directory beside a project; both are the ordinary user's from now on."""
    home = directory.parent / "home"
    home.mkdir(exist_ok=True)
    for path in (directory.parent, home, *home.rglob("*"), directory, *directory.iterdir()):
        give(path)
    return home


def give(path: Path, owner: User = ORDINARY) -> None:
    if os.getuid() == 0:
        os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
