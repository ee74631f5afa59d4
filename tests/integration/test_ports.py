"""`ports:` of a moat.yaml: a server in the sandbox is reached from this machine."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable

import pytest

from moat_nb import ApprovalNeeded, Sandbox
from moat_nb.cli.main import main
from tests.integration.conftest import TRANSPORT, Launcher, wait_until

# One process that has all: it echoes what it is asked, and says on its stdout that it listens.
SERVER = """\
import http.server, socket, sys
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = f"{self.server.server_port} {self.headers['Host']} {len(body)}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = Server((sys.argv[1], int(sys.argv[2])), Echo)
print("listens", flush=True)
server.serve_forever()
"""

STEAL = """\
import os, socket
here = os.environ["SOCKETS"]
os.unlink(here + "/p3000")
os.symlink("/run/docker.sock", here + "/p3000")
os.unlink(here + "/p3001")
socket.socket(socket.AF_UNIX).bind(here + "/p3001")
"""


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def ask(url: str, host: str | None = None, body: bytes = b"x" * 100_000) -> tuple[int, str]:
    """Without a look for the name: Debian's libc knows none below localhost."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(url), timeout=300)
    with_host = {"Host": host or url.removeprefix("http://")}
    connection.request("POST", "/", body, with_host)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def serve(box: Sandbox, address: str, port: int) -> None:
    said = bytearray()
    hear: Callable[[int, bytes], None] = lambda stream, data: said.extend(data)  # noqa: E731
    box.spawn(["python3", "-c", SERVER, address, str(port)], on_output=hear)
    assert wait_until(lambda: b"\n" in said)
    assert said == b"listens\n"


def test_a_server_inside_is_reached_by_its_name_and_by_the_loopback(
    launcher: Launcher, capsys: pytest.CaptureFixture[str]
) -> None:
    project = launcher.project(ports={"web": 3000, "my-api": 3001})
    with pytest.raises(ApprovalNeeded, match="port web: programs and browsers of this machine"):
        Sandbox.launch(project, launcher.runtime)
    box, other = launcher.launch(project), launcher.launch(project)
    web, api = box.urls["web"], box.urls["my-api"]
    assert web.startswith(f"http://web.test-box-{box.id}.localhost:")
    assert any(f"port web: {web} leads to 3000 inside" in notice for notice in box.notices)

    status, text = ask(web)
    assert (status, "nothing answers at port 3000" in text) == (502, True)
    serve(box, "0.0.0.0", 3000)
    serve(box, "127.0.0.1", 3001)
    serve(other, "127.0.0.1", 3000)
    for url, port in ((web, 3000), (api, 3001), (other.urls["web"], 3000)):
        assert ask(url) == (200, f"{port} {url.removeprefix('http://')} 100000")
    here = f"127.0.0.1:{port_of(web)}"
    assert ask(web, here) == (200, f"3000 {here} 100000")
    assert ask(web, "evil.example")[0] == 421
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port_of(web)))

    told = box.run(["sh", "-c", "echo $MOAT_URL_WEB $MOAT_HOST_WEB $MOAT_URL_MY_API"], check=True)
    assert told.stdout.decode().split() == [web, web.removeprefix("http://"), api]
    assert f"port web    {web}" in repr(box._repr_mimebundle_()["text/plain"])
    capsys.readouterr()
    assert main(["ps", "--json"]) == 0
    listed = {one["id"]: one.get("ports") for one in json.loads(capsys.readouterr().out)}
    assert dict(listed[box.id]) == {"web": web, "my-api": api}
    assert main(["open", "--print", box.id, "web"]) == 0
    assert capsys.readouterr().out == f"{web}\n"

    if TRANSPORT != "stream":  # there the sockets are the sandbox's own, as the servers are
        steal = box.run(["python3", "-c", STEAL], env={"SOCKETS": str(box.sockets)})
        assert steal.returncode == 0, steal.stderr
    for url, port in ((web, 3000), (api, 3001)):
        assert ask(url)[1].startswith(str(port))
    box.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(web)))
    assert ask(other.urls["web"])[0] == 200


def test_a_reset_and_a_server_of_ipv6_alone(launcher: Launcher) -> None:
    """What `localhost` is to many a server of Node's."""
    box = launcher.launch(launcher.project(ports={"web": 3000}))
    before = box.urls["web"]
    box.reset()
    assert box.urls["web"] != before
    there = box.run(["cat", "/proc/net/if_inet6"]).stdout  # a machine may have none
    serve(box, "::1" if there else "127.0.0.1", 3000)
    assert ask(box.urls["web"])[0] == 200
