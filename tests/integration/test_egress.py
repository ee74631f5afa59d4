"""The way out of real sandboxes, from programs and cells in them to hosts of the tests' own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.egress.internet import PUBLIC, Internet
from tests.integration.conftest import TRANSPORT, Launcher, wait_until

GET = """
import sys, urllib.request
for url in sys.argv[1:]:
    try:
        with urllib.request.urlopen(url, timeout=300) as answer:
            answer.read()
            print(answer.status)
    except OSError as error:
        print(error)
"""


class Sandboxed:
    """A sandbox whose launcher runs on the machine of the tests' internet."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.notices = self._answer()

    def __call__(self, name: str, *arguments: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def get(self, *urls: str) -> list[str]:
        """The status of each, or why there is none, as python's own client tells it."""
        code, out, err = self("run", ["python3", "-c", GET, *urls])
        assert (code, err) == (0, "")
        return str(out).splitlines()

    def trace(self, count: int) -> list[list[Any]]:
        """The records, once there are so many: each is made at its request's end, which the one who
        asked does not wait for."""
        wait_until(lambda: len(self("trace")) >= count)
        return list(self("trace"))


Launch = Callable[..., Sandboxed]


@pytest.fixture
def launch(net: Internet, launcher: Launcher) -> Iterator[Launch]:
    """``launch(network, **keys)``: one with this ``network:``, on each runtime in turn.

    ``environ``: what the launcher's has beside the tests' own.
    """
    with contextlib.ExitStack() as undo:

        def started(
            network: dict[str, Any] | None, environ: dict[str, str] | None = None, **keys: Any
        ) -> Sandboxed:
            keys = {"python": True, "network": network, **keys}
            project = launcher.project(**keys)
            argv = [sys.executable, "-m", "tests.egress.launched", launcher.runtime, str(project)]
            environ = {**os.environ, "SSL_CERT_FILE": str(net.authority), **(environ or {})}
            process = subprocess.Popen(
                net.on_this_machine(*argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environ,
            )
            undo.enter_context(process)
            return Sandboxed(process)

        yield started


def network_notice(box: Sandboxed) -> str:
    (found,) = (notice for notice in box.notices if notice.startswith("network: "))
    return str(found)


# ------------------------------------------------------- what can be reached


def test_any_public_host_can_be_reached_where_the_file_says_nothing(launch):
    box = launch(None)
    assert network_notice(box) == "network: permissive (HTTP and HTTPS to any public host)"
    assert box.get("https://pypi.test/", "http://other.test/") == ["200", "200"]
    assert box("run", ["python3", "-c", INTERFACES])[1] == "['lo']\n"
    found = box.get(
        "https://169.254.169.254/",
        "http://metadata.test/",
        "https://private.test/",
        "https://loopback.test/",
        "https://mapped.test/",
        "https://[::ffff:10.0.0.1]/",
    )
    assert [line for line in found if "403" not in line] == []
    assert [outcome for *_, outcome, _ in box.trace(8)] == ["passed"] * 2 + ["refused"] * 6


INTERFACES = "import socket; print([name for _, name in socket.if_nameindex()])"


def test_strict_lets_through_what_its_rules_name_and_tells_of_the_rest(launch):
    box = launch({"policy": "strict", "rules": ["pypi.test", "*.github.test"]})
    assert network_notice(box) == ("network: strict (HTTP and HTTPS to pypi.test, *.github.test)")
    passed = box.get("https://pypi.test/", "https://api.github.test/", "https://other.test/")
    assert passed[:2] == ["200", "200"]
    assert 'add "- other.test" to network.rules' in passed[2]
    assert wait_until(lambda: bool(box("heard")))
    (told,) = box("heard")
    assert re.search(r'^refused: other.test is not in .*add "- other.test" to network.rules', told)
    assert [row[1:4] for row in box.trace(3)] == [
        ["pypi.test", 200, "passed"],
        ["api.github.test", 200, "passed"],
        ["other.test", 403, "refused"],
    ]


def test_the_cell_that_was_refused_says_how_to_allow_it_once(launch):
    box = launch({"policy": "strict"})
    tries = "\n".join(["try: u.urlopen('https://pypi.test/')", "except OSError: pass"])
    code = f"import urllib.request as u, time\nfor _ in range(5):\n{indented(tries)}time.sleep(3)"
    stderr = box("cell", code)["stderr"]
    assert stderr.count("moat: ") == 1
    assert 'add "- pypi.test" to network.rules' in stderr


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def test_none_has_no_way_out_and_no_variables_for_one(launch):
    box = launch({"policy": "none"})
    assert network_notice(box) == "network: none (the kernel has loopback only)"
    assert box("has_proxy") is False
    names = box("run", ["env"])[1]
    assert "_PROXY=" not in names.upper()
    (found,) = box.get("https://pypi.test/")
    assert "urlopen error" in found


def test_ports_of_the_host_are_reached_where_they_are_listed_and_no_others(launch):
    box = launch({"policy": "none", "host": [18080]})
    assert network_notice(box) == "network: none (ports of this machine: 18080)"
    for port in (18080, 18081):
        assert box("serve", port) == "listens"
    assert box("run", ["python3", "-c", CONNECT, "18080"])[1] == "hello from the host\n"
    assert "refused" in box("run", ["python3", "-c", CONNECT, "18081"])[1]
    box = launch({"policy": "permissive", "host": [18082]})
    assert box("serve", 18082) == "listens"
    assert box("run", ["python3", "-c", CONNECT, "18082"])[1] == "hello from the host\n"
    (found,) = box.get("https://host.moat:18083/")
    assert "403" in found


CONNECT = """
import os, socket, sys
try:
    with socket.create_connection((os.environ["MOAT_HOST_GATEWAY"], int(sys.argv[1])), 60) as s:
        print(s.makefile().read())
except OSError as error:
    print(error)
"""


def test_rules_of_methods_and_paths_hold_inside_tls(launch):
    rules = [{"pypi.test": ["allow GET /echo", "allow GET /bytes/**"]}]
    box = launch({"policy": "strict", "rules": rules})
    found = box.get("https://pypi.test/bytes/10", "https://pypi.test/secret")
    assert found[0] == "200"
    assert "403" in found[1]
    assert [row[:4] for row in box.trace(2)][-1] == ["GET", "pypi.test", 403, "refused"]


def test_a_companys_proxy_is_used_with_a_password_that_the_sandbox_does_not_see(launch):
    """The first host is known to that proxy alone; the second is not asked of it."""
    environ = {"HTTPS_PROXY": f"http://ada:lu%73@{PUBLIC}:3128", "NO_PROXY": "other.test"}
    box = launch(None, environ=environ)
    assert box.get("https://inner.behind.test/", "http://other.test/") == ["200", "200"]
    seen = box("run", ["python3", "-c", SEEN, "http://pypi.test/", "http://other.test/"])[1]
    assert seen.splitlines() == ["GET http://pypi.test/ HTTP/1.1", "GET / HTTP/1.1"]
    inside = box("run", ["sh", "-c", "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null"])[1]
    assert "lu%73" not in inside and PUBLIC not in inside


SEEN = """
import sys, urllib.request
for url in sys.argv[1:]:
    print(urllib.request.urlopen(url, timeout=300).readline().decode().strip())
"""


# ------------------------------------------------------- much of it

MUCH = """
import hashlib, os, urllib.request
size = 256 << 20
with urllib.request.urlopen(f"https://pypi.test/bytes/{size}", timeout=300) as answer:
    digest, total = hashlib.sha256(), 0
    while data := answer.read(1 << 20):
        digest.update(data)
        total += len(data)
print(total == size, digest.hexdigest())
"""

MANY = """
import os, socket, ssl, threading
from concurrent.futures import ThreadPoolExecutor
MANY = 200
port = int(os.environ["HTTPS_PROXY"].rpartition(":")[2])
outgoing = ssl.MemoryBIO()
tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="pypi.test")
try:
    tls.do_handshake()
except ssl.SSLWantReadError:
    hello = outgoing.read()
together = threading.Barrier(MANY)

def one(number):
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(b"CONNECT pypi.test:9 HTTP/1.1\\r\\nHost: pypi.test:9\\r\\n\\r\\n")
        assert b" 200 " in connection.recv(4096)
        together.wait(60)
        connection.sendall(hello + bytes(number))
        connection.shutdown(socket.SHUT_WR)
        return int(connection.makefile().read()) - len(hello)

with ThreadPoolExecutor(MANY) as pool:
    print(list(pool.map(one, range(MANY))) == list(range(MANY)))
"""


@pytest.mark.parametrize("launcher", ["bubblewrap"], indirect=True)
def test_much_passes_the_forwarder_and_the_proxy_as_it_was_sent(launch):
    box = launch(None)
    digest = hashlib.sha256(b"moat" * (64 << 20)).hexdigest()
    assert box("run", ["python3", "-c", MUCH])[1:] == [f"True {digest}\n", ""]


@pytest.mark.parametrize("launcher", ["bubblewrap"], indirect=True)
def test_200_connections_from_inside_stand_at_once_and_each_gets_its_own_answer(launch):
    box = launch(None)
    assert box("run", ["python3", "-c", MANY])[1:] == ["True\n", ""]
    assert [row[1:4] for row in box.trace(200)] == [["pypi.test", 200, "passed"]] * 200


# ------------------------------------------------------- attacks

ASK = """
import os, socket, sys
port = int(os.environ["HTTPS_PROXY"].rpartition(":")[2])
with socket.create_connection(("127.0.0.1", port), 30) as connection:
    connection.sendall(sys.argv[1].replace("|", "\\r\\n").encode())
    print(connection.recv(4096).split(b" ")[1].decode())
"""

HANDSHAKE = """
import os, socket, ssl, sys
port = int(os.environ["HTTPS_PROXY"].rpartition(":")[2])
with socket.create_connection(("127.0.0.1", port), 30) as connection:
    connection.sendall(b"CONNECT pypi.test:443 HTTP/1.1\\r\\nHost: pypi.test:443\\r\\n\\r\\n")
    connection.recv(4096)
    try:
        ssl.create_default_context().wrap_socket(connection, server_hostname=sys.argv[1])
        print("200")
    except OSError:
        print("ended")
"""

ATTACKS = {
    "CONNECT to an allowed name": (ASK, "CONNECT pypi.test:443 HTTP/1.1|Host: pypi.test||", "200"),
    "CONNECT to a literal address": (ASK, "CONNECT 11.0.0.1:443 HTTP/1.1|Host: x||", "403"),
    "CONNECT to the metadata address": (
        ASK,
        "CONNECT 169.254.169.254:80 HTTP/1.1|Host: x||",
        "403",
    ),
    "CONNECT to a name of a private address": (
        ASK,
        "CONNECT private.test:443 HTTP/1.1|Host: private.test||",
        "403",
    ),
    "CONNECT to a name of the host's loopback": (
        ASK,
        "CONNECT loopback.test:443 HTTP/1.1|Host: loopback.test||",
        "403",
    ),
    "CONNECT to a name of ::ffff:10.0.0.1": (
        ASK,
        "CONNECT mapped.test:443 HTTP/1.1|Host: mapped.test||",
        "403",
    ),
    "Host that is not the URL's": (ASK, "GET http://pypi.test/ HTTP/1.1|Host: other.test||", "403"),
    "SNI that is the CONNECT's": (HANDSHAKE, "pypi.test", "200"),
    "SNI that is not the CONNECT's": (HANDSHAKE, "other.test", "ended"),
    "plain HTTP to what is not allowed": (
        ASK,
        "GET http://other.test/ HTTP/1.1|Host: other.test||",
        "403",
    ),
    "plain HTTP to the host's loopback": (
        ASK,
        "GET http://127.0.0.1:80/ HTTP/1.1|Host: 127.0.0.1||",
        "403",
    ),
}


def test_attacks_through_the_proxy_end_as_expected(launch, launcher, table):
    """The allowed beside the refused: what is refused is not refused for want of a rule."""
    names = ["pypi.test", "private.test", "loopback.test", "mapped.test"]
    box = launch({"policy": "strict", "rules": names})
    happened = {}
    for name, (program, argument, expected) in ATTACKS.items():
        happened[name] = str(box("run", ["python3", "-c", program, argument])[1]).strip()
        table(name, launcher.runtime, expected, happened[name], "-")
    assert happened == {name: expected for name, (_, _, expected) in ATTACKS.items()}


def test_a_sandbox_cannot_change_its_way_out(launch):
    """Over a stream its socket is one of the sandbox's own: who takes it away cuts off itself."""
    box = launch(None)
    if TRANSPORT == "stream":
        other = launch(None)
        assert box("run", ["rm", "/run/moat/network/proxy"])[0] == 0
        (found,) = box.get("https://pypi.test/")
        assert "urlopen error" in found
        assert other.get("https://pypi.test/") == ["200"]
        return
    for command in ("rm -f", "mv -f /tmp/x", "ln -sf /tmp/x", "chmod 777"):
        *_, refusal = box("run", ["sh", "-c", f"touch /tmp/x; {command} /run/moat/network/proxy"])
        assert "Read-only file system" in refusal
    assert box.get("https://pypi.test/") == ["200"]


# ------------------------------------------------------- real tools


@pytest.mark.parametrize("launcher", ["bubblewrap"], indirect=True)
def test_curl_git_and_npm_go_through_the_proxy_and_trust_what_the_host_trusts(launch):
    """On Docker they would have to be installed first; npm and pip are in ``test_seed.py``."""
    box = launch({"policy": "strict", "rules": ["pypi.test"]})
    curl = box("run", ["curl", "-sS", "https://pypi.test/"])
    assert (curl[0], curl[2]) == (0, "")
    git = box("run", ["git", "ls-remote", "https://pypi.test/repository"])
    assert "not valid: is this a git repository?" in git[2]
    refused = box("run", ["curl", "-sSv", "https://other.test/"])
    assert 'add "- other.test" to network.rules' in refused[2]
    npm = box("run", ["npm", "view", "--registry=https://other.test/", "x", "--fetch-retries=0"])
    assert "403" in npm[2]


# ------------------------------------------------------- the proxy's life


def test_the_proxy_begins_with_the_first_request_and_again_when_it_was_killed(launch):
    box = launch(None)
    assert box("proxy") is None
    for _ in range(2):
        assert wait_until(lambda: box.get("https://pypi.test/") == ["200"])
        os.kill(box("proxy"), signal.SIGKILL)


def test_a_killed_launcher_takes_the_proxy_along(launch, launcher):
    box = launch(None)
    assert box.get("https://pypi.test/") == ["200"]
    proxy = box("proxy")
    assert Path(f"/proc/{proxy}").exists()
    box.process.kill()
    assert wait_until(lambda: not Path(f"/proc/{proxy}").exists())
