"""The table of mounts, as a guest reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.guest.running import Start, tmpfs

pytestmark = pytest.mark.machine  # a guest is the first process of a namespace


@pytest.mark.parametrize("name", ["a b", "a\u00a0b", "a\rb", "a\tb\nc", "a\x1cb", "a\\040b", "ü"])
def test_a_mount_point_may_have_any_name(start: Start, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    guest = start(mounts=[("directory", path)], setup=tmpfs(path), env={"LANG": "C.UTF-8"})
    assert guest.hear("ready")["mounts"][0]["problem"] is None
