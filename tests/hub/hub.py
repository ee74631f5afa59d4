"""A real JupyterHub with its proxy, for the tests: started, asked as a browser asks, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import websocket

from tests.ordinary_user import revealed

START_SECONDS = 120
END_SECONDS = 90
CELL_SECONDS = 120
PASSWORD = "of every student"


@dataclass(frozen=True, kw_only=True)
class Hub:
    """A running hub; ``admin`` is a token that may do all there."""

    port: int
    api_port: int
    """Of the hub itself, behind the proxy, on 127.0.0.1."""
    admin: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def api(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """The status and the JSON of the hub's API."""
        headers = {"Authorization": f"token {token or self.admin}"}
        url = f"{self.url}/hub/api/{path}"
        answer = requests.request(method, url, headers=headers, json=body, timeout=300)
        with contextlib.suppress(ValueError):
            return answer.status_code, answer.json()
        return answer.status_code, answer.text

    def login(self, name: str) -> Student:
        """By the form, as a browser does, and with the student's server started."""
        session = requests.Session()
        session.get(f"{self.url}/hub/login", timeout=60)
        form = {"username": name, "password": PASSWORD, "_xsrf": session.cookies["_xsrf"]}
        answer = session.post(f"{self.url}/hub/login?next=/hub/home", data=form, timeout=60)
        assert answer.status_code == 200, answer.text
        assert answer.url.endswith("/hub/home"), answer.url
        student = Student(hub=self, name=name, session=session)
        student.start()
        return student

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=END_SECONDS)

    def words(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass
class Student:
    """A student's browser."""

    hub: Hub
    name: str
    session: requests.Session
    token: str = field(default="", repr=False)

    @property
    def base(self) -> str:
        return f"{self.hub.url}/user/{self.name}"

    def start(self) -> None:
        """Have a server, and go to its page by the hub's OAuth. RuntimeError: it has none."""
        if self.server() is None:
            status, told = self.hub.api("POST", f"users/{self.name}/server")
            # A slow start may be answered with a 500 of the hub's own (6.1.1), and is under way.
            if status not in (201, 202) and self.server() is None:
                raise RuntimeError(f"{told['message']}\n{self.hub.words()[-5000:]}")
        self.wait()
        page = self.session.get(f"{self.base}/lab", timeout=120)
        assert page.status_code == 200, page.text
        assert page.url.startswith(f"{self.base}/lab"), page.url
        scopes = ["access:servers!user", "self"]
        made = self.hub.api("POST", f"users/{self.name}/tokens", {"scopes": scopes})
        self.token = made[1]["token"]

    def wait(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            server = self.server()
            if server and server["ready"]:
                return
            if server is None:
                break
            time.sleep(0.2)
        raise RuntimeError(f"no server of {self.name}'s:\n{self.hub.words()[-5000:]}")

    def server(self) -> dict[str, Any] | None:
        _, user = self.hub.api("GET", f"users/{self.name}")
        found: dict[str, Any] | None = user["servers"].get("")
        return found

    def stop(self) -> None:
        self.hub.api("DELETE", f"users/{self.name}/server")
        give_up = time.monotonic() + END_SECONDS
        while self.server() is not None:
            assert time.monotonic() < give_up, self.hub.words()[-5000:]
            time.sleep(0.2)

    def __call__(
        self, method: str, path: str, body: Any = None, *, of: str | None = None
    ) -> tuple[int, Any]:
        """What the student's page would be answered by a server, their own unless ``of``."""
        url = f"{self.hub.url}/user/{of or self.name}{path}"
        headers = {"Authorization": f"token {self.token}"}
        # Without the cookies of the browser, which would ask for its token of forms too.
        answer = requests.request(method, url, headers=headers, json=body, timeout=300)
        with contextlib.suppress(ValueError):
            return answer.status_code, answer.json()
        return answer.status_code, answer.text

    def kernel(self, name: str | None = None) -> str:
        """The id of a new one."""
        status, made = self("POST", "/api/kernels", {} if name is None else {"name": name})
        assert status == 201, (made, self.hub.words()[-3000:])
        return str(made["id"])

    def run(self, kernel: str, code: str) -> str:
        """What a cell printed, or the name and words of its error."""
        return "".join(text for _, text in self.outputs(kernel, code))

    def outputs(self, kernel: str, code: str) -> list[tuple[str, str]]:
        session = uuid.uuid4().hex
        url = f"{self.base.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels"
        headers = [f"Authorization: token {self.token}"]
        channel = websocket.create_connection(
            f"{url}?session_id={session}", header=headers, timeout=CELL_SECONDS
        )
        with contextlib.closing(channel):
            request = message("execute_request", session, code=code, silent=False)
            channel.send(json.dumps(request))
            return list(_until_idle(channel, request["header"]["msg_id"]))


def message(kind: str, session: str, **content: Any) -> dict[str, Any]:
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": kind,
        "session": session,
        "username": "",
        "version": "5.3",
        "date": "2026-01-01T00:00:00Z",
    }
    content = {"store_history": False, "allow_stdin": False, "stop_on_error": True, **content}
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
        "buffers": [],
    }


def _until_idle(channel: websocket.WebSocket, id: str) -> Iterator[tuple[str, str]]:
    while True:
        got = json.loads(channel.recv())
        content, kind = got["content"], got["msg_type"]
        if kind == "status" and content["execution_state"] in ("dead", "restarting"):
            return
        if got["parent_header"].get("msg_id") != id:
            continue
        if kind == "stream":
            yield "stream", content["text"]
        elif kind == "error":
            yield "error", f"{content['ename']}: {content['evalue']}"
        elif kind in ("execute_result", "display_data"):
            yield "data", json.dumps(content["data"])
        elif kind == "status" and content["execution_state"] == "idle":
            return


CONFIG = """\
import json, sys
settings = json.loads({settings!r})
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:%d" % settings["port"]
c.JupyterHub.hub_port = settings["api_port"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:%d" % settings["proxy_port"]
c.ConfigurableHTTPProxy.command = settings["proxy"]
c.ConfigurableHTTPProxy.pid_file = settings["directory"] + "/proxy.pid"
c.JupyterHub.db_url = "sqlite:///" + settings["directory"] + "/hub.sqlite"
c.JupyterHub.cookie_secret_file = settings["directory"] + "/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = settings["password"]
c.Authenticator.allow_all = True
c.JupyterHub.services = [{{"name": "tests", "api_token": settings["admin"], "admin": True}}]
scopes = ["admin:users", "admin:servers", "tokens", "access:servers", "list:users", "self"]
c.JupyterHub.load_roles = [{{"name": "tests", "scopes": scopes, "services": ["tests"]}}]
c.JupyterHub.cleanup_servers = True
c.Spawner.http_timeout = c.Spawner.start_timeout = 120
"""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def hub(directory: Path, proxy: Path, config: str, **extra: str) -> Iterator[Hub]:
    """A hub that root runs, with ``config`` added; ``proxy`` is configurable-http-proxy's."""
    directory.mkdir(mode=0o700)
    port, api_port, proxy_port = free_ports(3)
    admin = secrets.token_hex(16)
    settings = {
        "port": port,
        "api_port": api_port,
        "proxy_port": proxy_port,
        "proxy": [str(proxy)],
        "directory": str(directory),
        "password": PASSWORD,
        "admin": admin,
    }
    file = directory / "jupyterhub_config.py"
    file.write_text(CONFIG.format(settings=json.dumps(settings)) + config)
    log = directory / "log"
    argv, env = revealed([sys.executable, "-m", "jupyterhub", "-f", str(file)])
    env = {"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8", **env, **extra}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv, env=env, cwd=directory, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
    made = Hub(port=port, api_port=api_port, admin=admin, log=log, process=process)
    try:
        _wait(made)
        yield made
    finally:
        made.end()


def _wait(made: Hub) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and made.process.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            if made.api("GET", "")[0] == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"the hub did not start:\n{made.words()[-5000:]}")
