"""How the guest ends, and how it reads its messages: run for real, spoken to over its pipes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.unit.guest.running import (
    Guest,
)

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
