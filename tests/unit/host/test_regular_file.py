"""What is opened as a regular file, and that nothing else holds up who opens it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moat_nb.host.regular_file import open_regular


def test_a_regular_file_is_read_by_its_path_and_below_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    with open_regular(tmp_path / "file") as stream:
        assert stream.read() == b"text"
    directory = os.open(tmp_path, os.O_RDONLY)
    with open_regular("file", dir_fd=directory) as stream:
        assert stream.read() == b"text"
    os.close(directory)


@pytest.mark.parametrize("name", ["link", "directory", "pipe", "missing"])
def test_nothing_else_is_opened_and_no_descriptor_is_left(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(OSError, match=name):
        open_regular(tmp_path / name)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
