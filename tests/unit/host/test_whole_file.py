"""A file that is replaced in one step."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.host.whole_file import write_whole


def test_it_is_its_owners_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    path.chmod(0o644)
    write_whole(path, "after")
    assert path.read_text() == "after"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("theirs")
    (tmp_path / "file").symlink_to("elsewhere")
    write_whole(tmp_path / "file", "ours")
    assert (tmp_path / "elsewhere").read_text() == "theirs"
    assert not (tmp_path / "file").is_symlink()


def test_where_it_cannot_be_replaced_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file/full").mkdir(parents=True)
    with pytest.raises(OSError):
        write_whole(tmp_path / "file", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
