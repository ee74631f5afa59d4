"""The process: its start, its end, its records and what it tells the launcher."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path

import pytest

from moat_nb.egress.proxy.__main__ import CONNECTIONS
from moat_nb.egress.proxy.attempt import Attempt
from moat_nb.egress.records import Record
from moat_nb.host.rotating_log import BoundedLog
from tests.egress.running import SECONDS, everything
from tests.unit.egress.conftest import Start


def record(path: str = "/") -> Record:
    return Attempt(method="GET", host="pypi.test", port=80, path=path).record()


@pytest.mark.parametrize("kill", [False, True])
def test_it_ends_when_its_launcher_does_and_connections_with_it(start: Start, kill: bool) -> None:
    """Killed itself, it leaves the launcher's socket in place, for the next one."""
    proxy = start()
    sock, _ = proxy.tunnel("pypi.test")
    if kill:
        proxy.process.kill()
        assert proxy.process.wait(SECONDS) == -signal.SIGKILL
    else:
        proxy.stop()
    assert everything(sock) == b""
    assert Path(proxy.path).is_socket()


def test_what_is_open_at_the_end_is_recorded(start: Start) -> None:
    proxy = start()
    tls = proxy.https("pypi.test")
    (found,) = proxy.records()
    assert (found["reason"], found["host"]) == ("the sandbox ended", "pypi.test")
    assert found["sent"] > 0
    tls.close()


def test_ctrl_c_in_the_launchers_terminal_does_not_end_it(start: Start) -> None:
    proxy = start()
    assert proxy.get("http://pypi.test/").status == 200
    proxy.process.send_signal(signal.SIGINT)
    assert proxy.get("http://pypi.test/").status == 200


def test_a_launcher_that_does_not_listen_is_not_waited_for(start: Start) -> None:
    """Its pipe takes 64 KiB; what does not fit is in the file alone."""
    proxy = start(policy="strict")
    for _ in range(300):
        assert proxy.get("http://pypi.test/").status == 403
    assert len(proxy.records()) == 300
    assert 0 < len(proxy.news()) < 300


def test_records_are_for_their_owner_alone_and_bounded(tmp_path: Path) -> None:
    path, limit = tmp_path / "records", 10_000
    file = BoundedLog(path, limit=limit)
    for _ in range(200):
        file.write(record().line())
    both = [path, tmp_path / "records.1"]
    assert {stat.S_IMODE(part.stat().st_mode) for part in both} == {0o600}
    assert limit // 2 < sum(part.stat().st_size for part in both) <= limit
    for part in both:
        for line in part.read_text().splitlines():
            assert json.loads(line)["host"] == "pypi.test"


def test_records_go_on_where_the_process_before_stopped(tmp_path: Path) -> None:
    for _ in range(2):
        BoundedLog(tmp_path / "records", limit=10_000).write(record().line())
    assert len((tmp_path / "records").read_text().splitlines()) == 2


def test_records_are_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "records").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        BoundedLog(tmp_path / "records", limit=10_000)


def test_a_record_that_does_not_fit_on_the_disk_is_missing_and_no_more() -> None:
    file = BoundedLog(Path("/dev/full"), limit=10_000)
    file.write(record().line())


def test_a_records_texts_are_bounded_and_printable() -> None:
    found = record("/\x1b[2J\u202e\n" + "x" * 100_000)
    assert found.path is not None
    assert found.path.startswith("/?[2J??xxx") and len(found.path) == 400
    assert len(found.line()) < 4096 == os.fpathconf(0, "PC_PIPE_BUF")


def test_every_text_at_its_longest_fits_into_one_write_to_a_pipe() -> None:
    longest = Attempt(
        **dict.fromkeys(
            ("method", "host", "path", "rule", "reason", "hint", "address"), '"' * 9999
        ),
        port=65535,
    )
    assert len(longest.record().line()) <= 4096


def test_a_sandbox_that_floods_the_socket_is_turned_away_and_others_are_served(
    start: Start,
) -> None:
    proxy = start()
    assert proxy.get("http://pypi.test/").status == 200
    held = [proxy.connect() for _ in range(CONNECTIONS + 10)]
    assert everything(held[-1]).startswith(b"HTTP/1.1 503 moat: too many connections at once")
    for sock in held:
        sock.close()
    while (status := proxy.get("http://pypi.test/").status) != 200:
        assert status == 503
