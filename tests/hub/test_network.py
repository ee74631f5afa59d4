"""A course with the network: the egress proxy, which runs as the student beside the hub, carries
nothing to the hub's API or to another student's server."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.hub.hub import Hub, Student, hub
from tests.hub.machine import Machine, moat_config

COURSE = """\
name: online
network: {{policy: permissive}}
container: {{memory: 512}}
mounts: [".:/workspace", "{data}:/data:ro"]
"""

ASK = """
import os, urllib.request, urllib.error
for name in ("no_proxy", "NO_PROXY"):  # else loopback is the sandbox's own
    os.environ.pop(name, None)
def ask(url):
    try:
        return urllib.request.urlopen(url, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return type(error).__name__
print(*[ask(url) for url in {urls!r}])
"""


@pytest.fixture(scope="module")
def online(machine: Machine) -> Iterator[Hub]:
    course = machine.directory / "online"
    course.mkdir()
    data = machine.directory / "data"
    data.mkdir()
    (data / "sales.csv").write_text("3,4")
    (course / "moat.yaml").write_text(COURSE.format(data=data))
    config = moat_config(course / "moat.yaml")
    with hub(machine.directory / "hub-online", machine.proxy, config) as made:
        yield made


@pytest.fixture(scope="module")
def ada(online: Hub) -> Student:
    return online.login("moatada")


def addresses() -> list[str]:
    """This machine's own, as a name and as numbers."""
    found = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False)
    return ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", *found.stdout.split()[:2]]


def test_the_hubs_api_is_not_reached_by_any_address_of_this_machine(
    online: Hub, ada: Student
) -> None:
    urls = [f"http://{at}:{online.api_port}/hub/api" for at in addresses()]
    printed = ada.run(ada.kernel(), ASK.format(urls=urls))
    said = printed.partition("\n")[0].split()
    assert len(said) == len(urls), printed
    assert set(said) == {"403"}, said  # of the egress proxy


def test_the_control_a_process_of_this_machine_reaches_it(online: Hub) -> None:
    with socket.create_connection(("127.0.0.1", online.api_port), timeout=10) as connection:
        connection.sendall(b"GET /hub/api HTTP/1.0\r\n\r\n")
        assert b"200 OK" in connection.recv(100)


def test_data_of_the_courses_is_read_and_not_written(ada: Student) -> None:
    """What a course mounts beyond itself is approved by who named its file to the hub."""
    kernel = ada.kernel()
    assert ada.run(kernel, "print(open('/data/sales.csv').read())") == "3,4\n"
    assert "Read-only file system" in ada.run(kernel, "open('/data/new', 'w')")
