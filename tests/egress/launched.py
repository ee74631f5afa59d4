"""A launcher on the tests' internet: ``python -m tests.egress.launched RUNTIME DIRECTORY``.

It starts the sandbox of a project, and does what a line of JSON on its stdin says, after another.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from moat_nb import Sandbox
from moat_nb.jupyter.kernel_manager import Kernel


def serve(port: int) -> str:
    """A program of this machine's own, which greets."""
    listener = socket.create_server(("127.0.0.1", port))

    def greet() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"hello from the host")

    threading.Thread(target=greet, daemon=True).start()
    return "listens"


class Launched:
    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.events: list[tuple[str, str]] = []
        self.kernel: Kernel | None = None

    def run(self, argv: list[str]) -> Any:
        done = self.box.run(argv)
        return [done.returncode, done.stdout.decode(), done.stderr.decode()]

    def cell(self, code: str) -> Any:
        """What a cell shows on its stdout and stderr."""
        if self.kernel is None:
            self.kernel = self.box.start_kernel()
        shown = {"stdout": "", "stderr": ""}

        def show(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                shown[message["content"]["name"]] += message["content"]["text"]
            elif message["msg_type"] == "error":
                shown["stderr"] += message["content"]["evalue"]

        self.kernel.kc.execute_interactive(code, output_hook=show, timeout=60)
        return shown

    def trace(self) -> Any:
        """As they began: each is recorded at its end."""
        found = sorted(self.box.requests(), key=lambda record: record.time)
        return [[r.method, r.host, r.status, r.outcome, r.rule] for r in found]

    def proxy(self) -> int | None:
        """The pid of its process."""
        proxy = self.box._running.proxy
        return None if proxy is None else proxy.pid

    def has_proxy(self) -> bool:
        return self.box._running.proxy is not None

    def heard(self) -> Any:
        return [text for kind, text in self.events if kind == "refused"]

    def serve(self, port: int) -> str:
        return serve(port)


def main() -> None:
    runtime, directory = sys.argv[1:]
    events: list[tuple[str, str]] = []
    with Sandbox.launch(
        Path(directory),
        runtime,
        on_event=lambda kind, text: events.append((kind, text)),
        approve=lambda demands: True,
    ) as box:
        launched = Launched(box)
        launched.events = events
        print(json.dumps(list(box.spec.notices)), flush=True)
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            print(json.dumps(getattr(launched, name)(*arguments)), flush=True)
        if launched.kernel is not None:
            launched.kernel.close()


if __name__ == "__main__":
    main()
