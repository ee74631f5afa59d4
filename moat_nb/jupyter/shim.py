"""``python -m moat_nb kernel -f FILE``: a sandboxed kernel for clients that know no provisioners.

VS Code, and whoever else runs a kernelspec's argv, takes this process for the kernel: it ends
when the kernel does, with its exit code, and passes signals on. The sandbox itself belongs to a
*keeper* (``shim_daemon.py``) that the shim starts; when a client restarts the kernel it ends this
process and starts another with the same connection file, and the keeper hands it the sandbox
that is still there. Without a successor the keeper ends within seconds.

Little is imported here, as everything waits for it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from moat_nb.errors import MoatError
from moat_nb.host.run_directory import base_directory, make_base
from moat_nb.jupyter import safe_python

__all__ = ["main"]

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)


def main(argv: list[str]) -> int:
    """Run one kernel to its end; returns its exit code, 128 + N for a signal N."""
    arguments = _parse(argv)
    try:
        connection = json.loads(Path(arguments.f).read_text())
        control = _connect_keeper(os.path.realpath(arguments.f), arguments)
    except (OSError, ValueError, MoatError) as error:
        print(f"moat-nb: {error}", file=sys.stderr)
        return 1
    start = {"connection": connection, "cwd": str(Path.cwd()), "env": _environment()}
    send(control, start)
    for signum in FORWARDED:
        signal.signal(signum, lambda number, _: send(control, {"signal": number}))
    if os.environ.get("JPY_PARENT_PID"):
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    return _serve(control)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="moat-nb kernel",
        description="Run one sandboxed kernel for a Jupyter client; kernelspecs call this.",
        epilog="example: moat-nb kernel --project ~/course -f kernel.json",
    )
    parser.add_argument("-f", metavar="FILE", required=True, help="the client's connection file")
    parser.add_argument("--project", default=".", help="a directory at or below its moat.yaml")
    parser.add_argument("--runtime", default="", help="docker, podman, bubblewrap or apple")
    parser.add_argument(
        "--trust-output", action="store_true", help="give the client all that the kernel sends"
    )
    parser.add_argument(
        "--workspace", default="", help="notebook: the directory where the client starts it"
    )
    return parser.parse_args(argv)


def _environment() -> dict[str, str]:
    # What a client means for the kernel cannot be told from what it inherited of the host's; this
    # one names the notebook, and is always meant.
    names = ("JPY_SESSION_NAME",)
    return {name: os.environ[name] for name in names if name in os.environ}


def _connect_keeper(file: str, arguments: argparse.Namespace) -> socket.socket:
    """The keeper that a shim before this one left, else a new one."""
    base = base_directory(os.environ, os.getuid())
    make_base(base)
    digest = hashlib.sha256("\0".join((file, *_keeper_words(arguments))).encode())
    address = base / f"keeper-{digest.hexdigest()[:16]}"
    control = socket.socket(socket.AF_UNIX)
    try:
        control.connect(str(address))
    except OSError:
        control.close()
        return _start_keeper(address, arguments)
    return control


def _start_keeper(address: Path, arguments: argparse.Namespace) -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        subprocess.Popen(
            [
                *safe_python.words(sys.executable, "moat_nb.jupyter.shim_daemon"),
                *(str(theirs.fileno()), str(address)),
                *_keeper_words(arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            # A client ends a kernel by its process group; the keeper is to survive that.
            start_new_session=True,
        )
    return ours


def _keeper_words(arguments: argparse.Namespace) -> tuple[str, str, str, str]:
    trusted = "trusted" if arguments.trust_output else ""
    return arguments.project, arguments.runtime, trusted, arguments.workspace


def send(control: socket.socket, message: dict[str, Any]) -> None:
    """One JSON object a line, both ways."""
    control.sendall(json.dumps(message).encode() + b"\n")


def _serve(control: socket.socket) -> int:
    with control.makefile("rb") as lines:
        for line in lines:
            message = json.loads(line)
            if "exited" in message:
                return int(message["exited"])
            print(message["log"], file=sys.stderr, flush=True)
    print("moat-nb: the keeper of the sandbox died", file=sys.stderr)
    return 1


def _end_with_parent(parent: int) -> NoReturn:
    """As ipykernel does: a kernel whose server died is of no use to anybody."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
