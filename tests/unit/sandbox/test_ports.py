"""A running sandbox's ports on this machine: which, and where they lead."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from moat_nb.errors import StartError
from moat_nb.host.run_directory import RunDir
from moat_nb.sandbox.ports import OpenPorts

PORTS = (("web", 3000), ("api", 8080))


@pytest.fixture
def run_dir() -> Iterator[RunDir]:
    """pytest's own directories have longer paths than a socket may."""
    found = RunDir(Path(tempfile.mkdtemp(prefix="moat-nb-ports-", dir="/var/tmp")))
    found.sockets.mkdir()
    yield found
    shutil.rmtree(found.path)


def listening(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    return made


def test_each_has_a_free_port_of_the_loopback_and_a_name_of_its_own() -> None:
    ports = OpenPorts.open(PORTS, "p", "0123abcd")
    with closing(ports):
        numbers = [door.port for door in ports.doors]
        assert len({*numbers}) == 2
        assert dict(ports.urls) == {
            "web": f"http://web.p-0123abcd.localhost:{numbers[0]}",
            "api": f"http://api.p-0123abcd.localhost:{numbers[1]}",
        }
        assert ports.env["MOAT_HOST_API"] == f"api.p-0123abcd.localhost:{numbers[1]}"
        assert ports.notices()[0] == (
            f"port web: {dict(ports.urls)['web']} leads to 3000 inside "
            f"(programs find it at http://127.0.0.1:{numbers[0]})"
        )
        bound = {sock.getsockname() for sock in ports._listeners}
        assert bound == {("127.0.0.1", number) for number in numbers}
    for number in numbers:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", number))


def test_they_lead_to_the_guests_sockets(run_dir: RunDir) -> None:
    ports = OpenPorts.open(PORTS, "p", "0123abcd")
    with (
        closing(ports),
        listening(run_dir.sockets / "p3000"),
        listening(run_dir.sockets / "p8080") as api,
    ):
        ports.serve(run_dir)
        door = ports.doors[1]
        with socket.create_connection(("127.0.0.1", door.port), timeout=60) as client:
            client.sendall(f"GET / HTTP/1.1\r\nHost: {door.host}\r\n\r\n".encode())
            with api.accept()[0] as carried:
                assert carried.recv(3, socket.MSG_WAITALL) == b"GET"


@pytest.mark.parametrize("what", ["nothing", "file", "link"])
def test_what_is_no_socket_of_the_guests_is_not_connected_to(run_dir: RunDir, what: str) -> None:
    path = run_dir.sockets / "p3000"
    with listening(run_dir.path / "hosts"):
        if what == "file":
            path.write_text("")
        elif what == "link":
            path.symlink_to(run_dir.path / "hosts")
        before = len([*Path("/proc/self/fd").iterdir()])
        ports = OpenPorts.open(PORTS[:1], "p", "0123abcd")
        with closing(ports), pytest.raises(StartError, match="ports: the guest's socket"):
            ports.serve(run_dir)
        assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_a_sandbox_without_ports_has_none(run_dir: RunDir) -> None:
    ports = OpenPorts.open((), "p", "0123abcd")
    ports.serve(run_dir)
    ports.close()
    assert (ports.urls, ports.env, ports.notices()) == ((), {}, ())
