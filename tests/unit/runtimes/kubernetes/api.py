"""An API that speaks as a cluster's does, for the launcher's end of it: the cluster itself is in
tests/kubernetes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

STDIN, STDOUT, STDERR, STATUS = range(4)
EXITED = {"status": "Failure", "message": "exit code 3", "details": {}}
EXITED["details"] = {"causes": [{"reason": "ExitCode", "message": "3"}]}


class Api:
    """``answers`` by METHOD and the end of a path: a status and what is said."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.port = 0
        self.reads = asyncio.Event()
        """Set while the program of a stream reads."""

    def config(self, directory: Path, **context: str) -> dict[str, str]:
        """What has a launcher ask here."""
        words = {
            "current-context": "tests",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "tests", "context": {"cluster": "c", "user": "u", **context}}],
        }
        (directory / "config").write_text(json.dumps(words))
        return {"KUBECONFIG": str(directory / "config"), "HOME": str(directory)}


class _Plain(RequestHandler):
    def initialize(self, api: Api) -> None:
        self.api = api

    async def _answer(self) -> None:
        body = json.loads(self.request.body or "null")
        method, path = str(self.request.method), self.request.path
        method = "WATCH" if self.get_argument("watch", "") else method
        self.api.asked.append((method, path, body))
        for (asked, end), (status, said) in self.api.answers.items():
            if asked == method and path.endswith(end):
                self.set_status(status)
                words = (
                    "".join(f"{json.dumps(each)}\n" for each in said) if method == "WATCH" else said
                )
                self.finish(words)
                return
        self.set_status(404)
        self.finish({"message": "there is none"})

    get = post = delete = _answer  # type: ignore[assignment]


class _Exec(WebSocketHandler):
    """``echo`` says on stdout what it hears, ``err`` on stderr, ``exit`` ends, ``deaf`` reads no
    more."""

    def initialize(self, api: Api) -> None:
        self.api = api

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return subprotocols[-1]

    def open(self) -> None:
        self.api.asked.append(("EXEC", self.request.path, self.get_arguments("command")))

    async def on_message(self, message: str | bytes) -> None:
        assert isinstance(message, bytes) and message[0] == STDIN
        data = message[1:]
        if data == b"exit":
            await self.write_message(bytes([STATUS]) + json.dumps(EXITED).encode(), binary=True)
            self.close()
        elif data == b"err":
            await self.write_message(bytes([STDERR]) + b"wrong\n", binary=True)
        elif data == b"deaf":
            await self.api.reads.wait()
        else:
            await self.write_message(bytes([STDOUT]) + data, binary=True)


@contextlib.contextmanager
def api() -> Iterator[Api]:
    made, begun = Api(), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        own = {"api": made}
        routes = [(r".*/exec", _Exec, own), (r".*", _Plain, own)]
        server = HTTPServer(Application(routes))
        server.listen(0, "127.0.0.1")
        made.port = next(iter(server._sockets.values())).getsockname()[1]
        begun.set()
        await over.wait()
        server.stop()
        await server.close_all_connections()

    over = asyncio.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    begun.wait()
    try:
        yield made
    finally:
        for event in (made.reads, over):
            loops[0].call_soon_threadsafe(event.set)
        thread.join()
