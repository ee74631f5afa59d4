"""The unix socket that leads to the engine of an endpoint, wherever that is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict

from moat_nb.errors import StartError
from moat_nb.host.isolated_python import command
from moat_nb.host.run_directory import base_directory, make_base
from moat_nb.runtimes.docker.endpoint import Endpoint, EndpointError
from moat_nb.runtimes.docker.forwarder import READY

__all__ = ["socket_of"]

START_SECONDS = 20.0

NO_WAY = (
    "`{command}` should answer without a question, and sshd there lead to sockets "
    "(AllowStreamLocalForwarding)"
)


def socket_of(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """Its own, or that of a process which is started where none runs. Raises EndpointError."""
    if endpoint.socket:
        return endpoint.socket
    try:
        base = base_directory(environ, os.getuid())
        directory = base / "engines"
        make_base(base)
        directory.mkdir(mode=0o700, exist_ok=True)
        path = str(directory / endpoint.digest)
        with (directory / f"{endpoint.digest}.lock").open("a") as lock:
            if not _answers(path):
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not _answers(path):
                    _start(endpoint, path, environ)
    except (OSError, StartError) as error:
        hint = "see that the directory is yours"
        raise EndpointError(f"{endpoint.said}: {error}", hint) from error
    return path


def _answers(path: str) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        return True
    return False


def _start(endpoint: Endpoint, path: str, environ: Mapping[str, str]) -> None:
    """With the launcher's environment, in which the user's ssh finds its agent and its keys."""
    with subprocess.Popen(
        command("moat_nb.runtimes.docker.forwarder", ()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=dict(environ),
        start_new_session=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps({**asdict(endpoint), "socket": path}).encode() + b"\n")
        process.stdin.close()
        said = _read(process.stdout.fileno(), time.monotonic() + START_SECONDS)
    if said.strip() != READY:
        _refuse(endpoint, said)


def _read(descriptor: int, until: float) -> str:
    said = b""
    while b"\n" not in said:
        left = until - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return f"it does not answer for {START_SECONDS:.0f} s"
        if not (data := os.read(descriptor, 1 << 16)):
            break
        said += data
    return said.decode(errors="replace")


def _refuse(endpoint: Endpoint, said: str) -> None:
    words = " ".join(said.split()) or "its forwarder ended"
    *where, host, _ = endpoint.ssh or ("", "", "")
    hint = "see that its host, port and certificates are right"
    if host:
        hint = NO_WAY.format(command=" ".join(("ssh", *where[:-1], host, "docker", "version")))
    raise EndpointError(f"{endpoint.said} is {endpoint.url}: {words}", hint)
