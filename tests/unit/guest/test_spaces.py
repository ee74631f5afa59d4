"""Which places are full."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from moat_nb.guest import spaces


class Found(NamedTuple):
    f_blocks: int = 100
    f_bfree: int = 50
    f_bavail: int = 50
    f_frsize: int = 4096
    f_files: int = 100
    f_favail: int = 50


@pytest.mark.parametrize(
    ("found", "full"),
    [
        (Found(), False),
        (Found(f_bfree=10, f_bavail=0), True),
        (Found(f_bavail=15), True),
        (Found(f_favail=0), True),
        (Found(f_files=0, f_favail=0), False),  # a filesystem that counts none
        (Found(f_blocks=0, f_bfree=0, f_bavail=0), False),  # a tmpfs without a limit
    ],
)
def test_a_place_without_room_for_a_byte_or_a_file_is_full(
    monkeypatch: pytest.MonkeyPatch, found: Found, full: bool
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: found)
    used = (found.f_blocks - found.f_bfree) * 4096
    assert spaces.look(["/tmp"]) == [{"path": "/tmp", "used": used, "full": full}]


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    (found,) = spaces.look([str(tmp_path / "none"), str(tmp_path)])
    assert found["path"] == str(tmp_path)
