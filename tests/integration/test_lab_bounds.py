"""What a kernel of `moat-nb lab` sends takes little of its server's memory, and a cell ends."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import websocket

from moat_nb.jupyter.relay.sockets import MESSAGE_LIMIT
from tests.served import Served, ours

MIB = 1 << 20
CELL_SECONDS = 300

SEND = """\
kernel = get_ipython().kernel
def send(text):
    content = {"name": "stdout", "text": text}
    kernel.session.send(kernel.iopub_socket, "stream", content, parent=kernel.get_parent("shell"))
"""

FLOOD = """\
import threading, time
def flood():
    text = "x" * (30 << 20)
    for number in range(12):
        send(text)
    open("flooded", "w").close()
threading.Thread(target=flood).start()
"""


class Page:
    """A kernel as a page has it."""

    def __init__(self, served: Served) -> None:
        _, kernel = served("POST", "/api/kernels", {})
        host = f"{served.host}:{served.port}"
        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{served.port}/api/kernels/{kernel['id']}/channels",
            timeout=CELL_SECONDS,
            host=host,
            origin=f"http://{host}",
            header=[f"Authorization: token {served.token}"],
        )

    def run(self, code: str, warned: str = "") -> tuple[str, str]:
        """What a cell wrote to stdout and to stderr, once its reply and its end are there, and
        ``warned`` in the second."""
        id = secrets.token_hex(8)
        header = {"msg_id": id, "msg_type": "execute_request", "session": "s", "username": ""}
        content = {"code": code, "silent": False, "store_history": True, "stop_on_error": True}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self._socket.send(json.dumps({**message, "channel": "shell", "buffers": []}))
        texts = {"stdout": "", "stderr": ""}
        missing = {"execute_reply", "idle"}
        while missing or warned not in texts["stderr"]:
            answer: dict[str, Any] = json.loads(self._socket.recv())
            if answer["parent_header"].get("msg_id") != id:
                continue
            content = answer["content"]
            if answer["msg_type"] == "stream":
                texts[content["name"]] += content["text"]
            missing -= {answer["msg_type"], content.get("execution_state")}
        return texts["stdout"], texts["stderr"]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def lab(launcher) -> Iterator[tuple[Served, Page, Any]]:
    project = launcher.project(python=True)
    with ours("lab", project, launcher.runtime, project.parent / "home") as served:
        page = Page(served)
        with contextlib.closing(page):
            page.run(SEND)
            yield served, page, project


def test_what_a_sandbox_sends_takes_little_of_the_servers_memory(lab) -> None:
    served, page, project = lab
    tree = psutil.Process(served.process.pid)
    process = max([tree, *tree.children(recursive=True)], key=lambda one: one.memory_info().rss)
    before = process.memory_info().rss
    out, _ = page.run(f"send('x' * {MESSAGE_LIMIT + 1})", warned="a message longer than 64 MiB")
    assert "x" not in out
    assert page.run("print('and on')") == ("and on\n", "")
    page.run(FLOOD)
    give_up = time.monotonic() + 60
    while not (project / "flooded").exists() and time.monotonic() < give_up:
        time.sleep(0.1)
    assert page.run("print('and on')")[0].endswith("and on\n")
    grown = process.memory_info().rss - before
    assert grown < 300 * MIB, f"{grown // MIB} MiB"
