"""A log is bounded, whatever a kernel writes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

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


def test_a_flood_leaves_two_files_of_the_limit_with_the_last_of_it(tmp_path: Path) -> None:
    bounded = BoundedLog(tmp_path / "log", limit=2000)
    for number in range(1000):
        bounded.write(f"{number:09}\n".encode())
    bounded.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    sizes = [(tmp_path / name).stat().st_size for name in ("log", "log.1")]
    assert max(sizes) <= 1000
    lines = ((tmp_path / "log.1").read_text() + (tmp_path / "log").read_text()).split()
    assert lines == [f"{number:09}" for number in range(1000 - len(lines), 1000)]


def test_what_fills_the_limit_exactly_begins_no_new_file(tmp_path: Path) -> None:
    bounded = BoundedLog(tmp_path / "log", limit=20)
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


def test_a_directory_that_was_removed_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    bounded = BoundedLog(tmp_path / "run" / "log", limit=20)
    (tmp_path / "run" / "log").unlink()
    (tmp_path / "run").rmdir()
    for _ in range(5):
        bounded.write(b"x" * 8)
    assert bounded.tail() == "x" * 40
    bounded.close()


def test_it_goes_on_once_a_file_can_be_made_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    bounded = BoundedLog(run / "log", limit=20)
    bounded.write(b"x" * 8)
    (run / "log").unlink()
    run.rmdir()
    bounded.write(b"lost" * 2)
    run.mkdir()
    bounded.write(b"y" * 8)
    assert (run / "log").read_bytes() == b"y" * 8
    bounded.close()


def test_both_parts_are_for_their_owner_alone(tmp_path: Path) -> None:
    bounded = BoundedLog(tmp_path / "log", limit=20)
    for _ in range(3):
        bounded.write(b"x" * 8)
    bounded.close()
    assert {stat.S_IMODE(part.stat().st_mode) for part in tmp_path.iterdir()} == {0o600}
    assert len(list(tmp_path.iterdir())) == 2


def test_it_goes_on_where_the_one_before_stopped(tmp_path: Path) -> None:
    for text in (b"a", b"b"):
        bounded = BoundedLog(tmp_path / "log")
        bounded.write(text)
        bounded.close()
    assert (tmp_path / "log").read_bytes() == b"ab"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        BoundedLog(tmp_path / "log")
