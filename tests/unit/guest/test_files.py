"""One operation on files, as a sandbox's program tries it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moat_nb.guest import files


def ask(op: str, path: Path, data: bytes = b"", **more: Any) -> tuple[dict[str, Any], bytes]:
    request = json.dumps({"op": op, "path": str(path), **more}).encode() + b"\n"
    command = [sys.executable, "-I", "-S", files.__file__]
    done = subprocess.run(command, input=request + data, capture_output=True, check=True)
    head, _, rest = done.stdout.partition(b"\n")
    return json.loads(head), rest


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_is_written_read_renamed_and_deleted(tmp_path: Path) -> None:
    file = tmp_path / "a"
    assert ask("write", file, b"one\ntwo", append=False)[0]["size"] == 7
    assert ask("write", file, b"!", append=True)[0]["size"] == 8
    assert ask("read", file, limit=8)[1] == b"one\ntwo!"
    assert ask("rename", file, to=str(tmp_path / "b"))[0]["type"] == "file"
    assert ask("delete", tmp_path / "b") == ({}, b"")
    assert names(tmp_path) == []


def test_what_is_replaced_keeps_its_mode_and_a_link_keeps_leading_there(tmp_path: Path) -> None:
    file, link = tmp_path / "a", tmp_path / "link"
    file.write_text("old")
    file.chmod(0o750)
    link.symlink_to("a")
    ask("write", link, b"new", append=False)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o750)
    assert link.is_symlink()
    assert names(tmp_path) == ["a", "link"]


def test_a_listing_has_files_and_directories_alone(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    (tmp_path / "d").mkdir()
    (tmp_path / "nowhere").symlink_to("gone")
    os.mkfifo(tmp_path / "fifo")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_text("")
    entries = ask("list", tmp_path)[0]["entries"]
    assert {entry["name"]: entry["type"] for entry in entries} == {"f": "file", "d": "directory"}


def test_a_directory_is_made_once_and_deleted_with_what_is_in_it(tmp_path: Path) -> None:
    made = tmp_path / "d"
    assert ask("mkdir", made)[0]["type"] == "directory"
    assert ask("mkdir", made) == ({"error": errno.EEXIST}, b"")
    (made / "out").symlink_to(tmp_path)
    (tmp_path / "kept").write_text("x")
    assert ask("delete", made) == ({}, b"")
    assert names(tmp_path) == ["kept"]


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert ask("read", tmp_path / "fifo", limit=10) == ({"error": errno.EISDIR}, b"")
    assert ask("write", tmp_path / "fifo", b"x", append=False) == ({"error": errno.EISDIR}, b"")


@pytest.mark.parametrize(
    ("op", "more", "error"),
    [
        ("read", {"limit": 1}, errno.EFBIG),
        ("rename", {"to": "{}/there"}, errno.EEXIST),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, op: str, more: dict, error: int) -> None:
    (tmp_path / "a").write_text("xx")
    (tmp_path / "there").write_text("y")
    more = {key: v.format(tmp_path) if isinstance(v, str) else v for key, v in more.items()}
    assert ask(op, tmp_path / "a", **more) == ({"error": error}, b"")
    assert (tmp_path / "there").read_text() == "y"
