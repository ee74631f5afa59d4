"""log.py: bounded, whatever a kernel writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.host import rotating_log
from moat_nb.host.rotating_log import BoundedLog


def test_what_is_written_is_in_the_file_at_once_and_the_last_of_it_at_hand(tmp_path: Path) -> None:
    bounded = BoundedLog(tmp_path / "log")
    bounded.write(b"a\xff")
    bounded.write(b"b\n")
    assert (tmp_path / "log").read_bytes() == b"a\xffb\n"
    assert bounded.tail() == "a\ufffdb\n"
    bounded.close()


def test_the_tail_is_the_last_8_kib(tmp_path: Path) -> None:
    bounded = BoundedLog(tmp_path / "log")
    bounded.write(b"x" * 5000 + b"y" * 5000)
    bounded.write(b"z" * 4000)
    assert bounded.tail() == "y" * (8192 - 4000) + "z" * 4000
    bounded.close()


def test_a_flood_leaves_two_files_of_the_limit_with_the_last_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotating_log, "FILE_LIMIT", 1000)
    bounded = BoundedLog(tmp_path / "log")
    for number in range(1000):
        bounded.write(f"{number:09}\n".encode())
    bounded.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    sizes = [(tmp_path / name).stat().st_size for name in ("log", "log.1")]
    assert max(sizes) <= 1000
    lines = ((tmp_path / "log.1").read_text() + (tmp_path / "log").read_text()).split()
    assert lines == [f"{number:09}" for number in range(1000 - len(lines), 1000)]


def test_what_fills_the_limit_exactly_begins_no_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotating_log, "FILE_LIMIT", 10)
    bounded = BoundedLog(tmp_path / "log")
    bounded.write(b"x" * 10)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    bounded.write(b"y")
    assert (tmp_path / "log.1").read_bytes() == b"x" * 10
    bounded.close()


def test_after_the_end_only_the_tail_grows(tmp_path: Path) -> None:
    bounded = BoundedLog(tmp_path / "log")
    bounded.close()
    bounded.write(b"late")
    bounded.close()
    assert (tmp_path / "log").read_bytes() == b""
    assert bounded.tail() == "late"


def test_a_full_disk_ends_nothing() -> None:
    bounded = BoundedLog(Path("/dev/full"))
    bounded.write(b"x")
    assert bounded.tail() == "x"
    bounded.close()


def test_a_directory_that_was_removed_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotating_log, "FILE_LIMIT", 10)
    (tmp_path / "run").mkdir()
    bounded = BoundedLog(tmp_path / "run" / "log")
    (tmp_path / "run" / "log").unlink()
    (tmp_path / "run").rmdir()
    for _ in range(5):
        bounded.write(b"x" * 8)
    assert bounded.tail() == "x" * 40
    bounded.close()
