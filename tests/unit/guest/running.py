"""A guest that is run for real, and what the tests tell and ask it."""

from __future__ import annotations

import ast
import json
import os
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

import moat_nb
from moat_nb.guest.messages import encode
from moat_nb.guest.settings import PortForward, ProvedMount, Settings

GUEST = Path(moat_nb.__file__).parent / "guest"
ROOT = os.getuid() == 0
NAMESPACES = (
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *(() if ROOT else ("--user", "--map-root-user")),
)


class Guest:
    """A guest as PID 1 of its own namespace, where it may mount and count processes."""

    def __init__(
        self,
        directory: Path,
        *,
        mounts: Sequence[tuple[str, Path]] = (),
        preload: Sequence[str] = (),
        port_forwards: Sequence[PortForward] = (),
        setup: str = "",
        python: str = sys.executable,
        env: dict[str, str] | None = None,
        in_no_hurry: bool = False,
        ports: Sequence[int] = (),
        proxy_socket: str = "",
        files: int = 0,
        grace: float = 0.0,
    ) -> None:
        self.directory = directory
        self.stderr = directory / "guest.stderr"
        covered = [ProvedMount(str(path), kind) for kind, path in mounts]
        settings = Settings(
            *(covered, preload, port_forwards, in_no_hurry),
            ports=ports,
            sockets=str(directory) if ports else "",
            proxy_socket=proxy_socket,
            files=files,
            grace=grace,
        )
        command = shlex.join([python, str(GUEST), *settings.to_argv()])
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*NAMESPACES, "sh", "-ec", f"{setup}\nexec {command}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={"PATH": f"{Path(python).parent}:{os.environ['PATH']}", "HOME": str(directory)}
                | (env or {}),
            )
        self.outputs: dict[str, dict[int, bytearray]] = defaultdict(lambda: defaultdict(bytearray))
        self.heard: list[dict[str, Any]] = []
        self.counter = 0
        self.beats = 0

    def tell(self, kind: str, body: bytes | None = None, **fields: Any) -> None:
        self.tell_raw(encode(kind, body, **fields))

    def tell_raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def hear(self, kind: str, id: str | None = None) -> dict[str, Any]:
        """The next message of a kind; what else comes meanwhile is kept."""
        for message in self.heard:
            if message["type"] == kind and id in (None, message.get("id")):
                self.heard.remove(message)
                return message
        while True:
            message = self.hear_any()
            if message["type"] == kind and id in (None, message.get("id")):
                return message
            if message["type"] in ("failed", "refused"):
                pytest.fail(f"awaited {kind}, heard {message}")
            self.heard.append(message)

    def hear_any(self) -> dict[str, Any]:
        """The next message that is neither output nor a sign of life, of which ``beats`` counts."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message: dict[str, Any] = json.loads(line)
            body = self.process.stdout.read(message.get("size", 0))
            if message["type"] == "alive":
                self.beats += 1
                continue
            if message["type"] != "output":
                return message | ({"body": body} if "size" in message else {})
            self.outputs[message["id"]][message["stream"]] += body
        pytest.fail(f"heard the end: {self.stderr.read_text()}")

    def spawn(self, argv: Sequence[str], answer: str = "spawned", **fields: Any) -> str:
        self.counter += 1
        id = str(self.counter)
        fields = {"env": {}, "cwd": str(self.directory), **fields}
        self.tell("spawn", id=id, argv=list(argv), **fields)
        self.answer = self.hear(answer, id)
        return id

    def refusal(self, argv: Sequence[str], **fields: Any) -> str:
        self.spawn(argv, answer="failed", **fields)
        return str(self.answer["error"])

    def finish(self, id: str) -> tuple[int | None, int | None]:
        exited = self.hear("exited", id)
        return exited["code"], exited["signal"]

    def run(self, script: str, **fields: Any) -> str:
        """What a shell script writes to its stdout; it must end well."""
        id = self.spawn(["sh", "-c", script], **fields)
        assert self.finish(id) == (0, None), bytes(self.outputs[id][2])
        return bytes(self.outputs[id][1]).decode()

    def open_descriptors(self) -> int:
        # The least of several: the guest may still be closing what it started the asker with.
        return min(int(self.run("sleep 0.05; ls /proc/1/fd | wc -l")) for _ in range(3))

    def processes(self) -> list[str]:
        """The states and names of all processes in the namespace but the guest and the asker."""
        script = "cat /proc/[0-9]*/stat 2>/dev/null; true"  # some end while it looks
        stats = [line.split() for line in self.run(script).splitlines()]
        return [f"{s[2]} {s[1]}" for s in stats if s[0] != "1" and s[1] not in ("(sh)", "(cat)")]

    def end(self) -> int:
        """Let go of the attach stream; the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout=300)

    def discard(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()  # and the namespace with it
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


Start = Callable[..., Guest]

MIB = 1 << 20


def tmpfs(path: Path, options: str = "mode=1777") -> str:
    path.mkdir(exist_ok=True)
    return f"mount -t tmpfs -o size={MIB},{options} tmpfs {shlex.quote(str(path))}\n"


COVER = "touch {1}; chmod 444 {1}; mount --bind {1} {0}; mount -o remount,bind,ro {0}"


KERNEL = ("python3", "-m", "ipykernel_launcher", "-f", "{connection_file}")
PRELOAD = ("ipykernel.kernelapp", "ipykernel.ipkernel")


def connection(prefix: str) -> dict[str, Any]:
    names = ("shell", "iopub", "stdin", "control", "hb")
    ports = {f"{name}_port": number for number, name in enumerate(names, start=1)}
    key = {"key": "0123", "signature_scheme": "hmac-sha256", "kernel_name": ""}
    return {"transport": "ipc", "ip": prefix, **ports, **key}


def ask(prefix: str, expression: str) -> Any:
    """The value of an expression in the kernel at ``prefix``, by way of JSON."""
    client = BlockingKernelClient()
    client.load_connection_info(connection(prefix))
    client.start_channels(hb=False)  # which takes a kernel that is slow to start for dead
    try:
        user = {"value": f"__import__('json').dumps({expression})"}
        reply = client.execute("", user_expressions=user, reply=True, timeout=300)
        answer = reply["content"]["user_expressions"]["value"]
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))
    finally:
        client.stop_channels()


IN_PARTS = "hasattr(__import__('sys').stdout, '_unsent')"
"""True in a kernel whose output is sent in parts."""
