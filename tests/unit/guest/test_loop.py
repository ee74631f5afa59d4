"""How the guest ends, and how it reads its messages: run for real, spoken to over its pipes."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest

from tests.unit.guest.running import KERNEL, PRELOAD, Guest, Start, ask, connection

pytestmark = pytest.mark.machine  # a guest is the first process of a namespace


# ---------------------------------------------------------------- the end of the attach stream


def alive(marker: str) -> list[str]:
    """The processes of this machine that have ``marker`` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if marker.encode() in words:
            found.append(path.parent.name)
    return found


def marked_processes(guest: Guest) -> str:
    """Leave a process and a daemon behind that :func:`alive` finds by the word returned."""
    marker = f"1000.{int.from_bytes(os.urandom(6), 'big')}"
    guest.spawn(["sleep", marker])
    guest.finish(guest.spawn(["sh", "-c", f"trap '' TERM HUP; setsid sleep {marker} & exit 0"]))
    deadline = time.monotonic() + 60
    while len(alive(marker)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(alive(marker)) == 2
    return marker


def test_the_end_of_stdin_ends_everything(guest: Guest) -> None:
    marker = marked_processes(guest)
    assert guest.end() == 0
    assert alive(marker) == []


def test_a_launcher_that_reads_no_more_ends_everything(guest: Guest) -> None:
    marker = marked_processes(guest)
    assert guest.process.stdout is not None
    guest.process.stdout.close()
    guest.tell("usage", id="u")
    assert guest.process.wait(timeout=300) == 0
    assert alive(marker) == []


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"{}", b'{"type": "dance"}', b'{"type": "signal"}', b"\xff"]
)
def test_a_malformed_message_ends_everything_and_is_shown(guest: Guest, line: bytes) -> None:
    marker = marked_processes(guest)
    guest.tell_raw(line + b"\n")
    assert guest.process.wait(timeout=300) == 1
    assert alive(marker) == []
    assert "Traceback" in guest.stderr.read_text()


def test_a_message_may_come_in_pieces_and_several_at_once(guest: Guest) -> None:
    line = json.dumps({"type": "usage", "id": "a"}).encode()
    for part in (line[:5], line[5:] + b"\n" + line.replace(b'"a"', b'"b"') + b"\n"):
        guest.tell_raw(part)
        time.sleep(0.05)
    assert guest.hear("usage")["id"] == "a"
    assert guest.hear("usage")["id"] == "b"


# ---------------------------------------------------------------- connections that it carries


def connected(guest: Guest, path: str, number: int) -> socket.socket:
    """Who listens at ``path`` has this connection, which the guest was told to make."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        server.settimeout(300)
        guest.tell("open", channel=number, name=path)
        accepted = server.accept()[0]
    accepted.settimeout(300)
    return accepted


def test_bytes_are_carried_to_a_socket_and_back(guest: Guest, sockets: str) -> None:
    with connected(guest, f"{sockets}/1", 2) as server:
        guest.tell("data", b"question", channel=2)
        assert server.recv(100) == b"question"
        assert guest.hear("window")["count"] == 8
        server.sendall(b"answer")
        assert guest.hear("data")["body"] == b"answer"
    assert guest.hear("eof")["channel"] == 2


def test_who_waits_for_the_proxy_is_told_of_one_after_the_other(start: Start, sockets: str) -> None:
    """Also when nothing is left that the guest waits for but who comes next."""
    guest = start(proxy_socket=f"{sockets}/proxy")
    guest.hear("ready")
    for number in (1, 3):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{sockets}/proxy")
            opened = guest.hear("open")
            assert (opened["channel"], opened["name"]) == (number, "proxy")
        guest.tell("reset", channel=number)


def test_a_kernel_that_is_forked_meanwhile_has_no_part_in_what_is_carried(
    start: Start, sockets: str
) -> None:
    guest = start(preload=PRELOAD)
    guest.hear("ready")
    with connected(guest, f"{sockets}/1", 2) as server:
        guest.spawn(KERNEL, fork=True, connection=connection(f"{sockets}/k"))
        assert ask(f"{sockets}/k", "__import__('gc').collect()") >= 0
        guest.tell("data", b"still here", channel=2)
        assert server.recv(100) == b"still here"
        guest.tell("reset", channel=2)
        assert server.recv(100) == b""
    assert ask(f"{sockets}/k", "6 * 7") == 42


def test_what_is_imported_ahead_finds_the_launchers_files(start: Start, tmp_path: Path) -> None:
    (tmp_path / "reads.py").write_text(f"text = open({str(tmp_path / 'given')!r}).read()\n")
    guest = start(files=1, preload=["reads"], env={"PYTHONPATH": str(tmp_path)})
    guest.hear("ready")
    guest.tell("file", b"certificates", path=str(tmp_path / "given"))
    guest.finish(guest.spawn(["true"]))
    assert (tmp_path / "given").stat().st_mode & 0o777 == 0o644
    assert guest.run("echo lives") == "lives\n"


def test_a_file_that_cannot_be_made_ends_the_guest_with_its_name(
    start: Start, tmp_path: Path
) -> None:
    guest = start(files=1)
    guest.hear("ready")
    guest.tell("file", b"certificates", path=str(tmp_path / "no/such"))
    assert guest.process.wait(timeout=300) != 0
    assert "no/such: No such file or directory" in guest.stderr.read_text()
