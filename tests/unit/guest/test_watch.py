"""The watch over the excludes, in a guest that is run for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.guest.running import COVER, MIB, Start, tmpfs

pytestmark = pytest.mark.machine  # a guest is the first process of a namespace


def test_an_exclude_that_is_unmounted_is_reported_once(start: Start, tmp_path: Path) -> None:
    path, other = tmp_path / "e", tmp_path / "other"
    mounts = [("directory", path), ("directory", other)]
    guest = start(mounts=mounts, setup=tmpfs(path) + tmpfs(other))
    guest.hear("ready")
    guest.spawn(["umount", str(path)])
    assert guest.hear("mount_lost")["path"] == str(path)
    guest.spawn(["umount", str(other)])
    assert guest.hear("mount_lost")["path"] == str(other)


def test_an_exclude_whose_parent_is_renamed_is_reported(start: Start, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    path = parent / "e"
    path.mkdir(parents=True)
    guest = start(mounts=[("directory", path)], setup=tmpfs(path))
    guest.hear("ready")
    guest.run(f"mv {parent} {tmp_path}/moved")
    assert guest.hear("mount_lost")["path"] == str(path)


COVERED_AGAIN = {
    "directory": ("mkdir {0}; mount -t tmpfs -o mode=1777 tmpfs {0}", "mount -t tmpfs tmpfs {0}"),
    "file": ("touch {0}; " + COVER, "touch {0}.other; mount --bind {0}.other {0}"),
}


@pytest.mark.parametrize("kind", COVERED_AGAIN)
def test_an_exclude_at_which_something_else_is_seen_is_reported_whatever_the_mount_table_says(
    start: Start, tmp_path: Path, kind: str
) -> None:
    """gVisor's table goes on to list what nobody sees any more."""
    path = tmp_path / "e"
    setup, other = (words.format(path, tmp_path / "empty") for words in COVERED_AGAIN[kind])
    guest = start(mounts=[(kind, path)], setup=setup)
    guest.hear("ready")
    guest.run(other)
    assert str(path) in guest.run("cut -d ' ' -f 5 /proc/self/mountinfo").splitlines()
    assert guest.hear("mount_lost")["path"] == str(path)


def test_what_a_kernel_changes_in_an_exclude_or_around_it_undoes_nothing(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "parent" / "e"
    path.mkdir(parents=True)
    guest = start(mounts=[("directory", path)], setup=tmpfs(path))
    guest.hear("ready")
    guest.run(f"chmod 700 {path}; touch {path}/new; mkdir {path}/d; mount -t tmpfs tmpfs {path}/d")
    guest.run(f"chmod 000 {path.parent}")
    guest.tell("usage", id="u")
    assert guest.hear_any()["type"] == "usage"


def test_a_lost_exclude_is_told_before_the_use_that_was_asked_for(
    start: Start, tmp_path: Path
) -> None:
    lost, kept = tmp_path / "lost", tmp_path / "kept"
    mounts = [("directory", lost), ("directory", kept)]
    guest = start(mounts=mounts, setup=tmpfs(lost) + tmpfs(kept))
    guest.hear("ready")
    guest.tell("usage", id="before")
    assert len(guest.hear("usage")["mounts"]) == 2
    guest.run(f"mount -t tmpfs tmpfs {lost}")
    guest.tell("usage", id="after")
    assert guest.hear("mount_lost")["path"] == str(lost)
    assert [mount["path"] for mount in guest.hear("usage")["mounts"]] == [str(kept)]


def test_usage_tells_what_the_excluded_directories_hold(start: Start, tmp_path: Path) -> None:
    path, file = tmp_path / "e", tmp_path / ".env"
    file.touch()
    guest = start(
        mounts=[("directory", path), ("file", file)],
        setup=tmpfs(path) + COVER.format(file, tmp_path / "empty"),
    )
    guest.hear("ready")
    guest.run(f"head -c 100000 /dev/zero > {path}/x")
    guest.tell("usage", id="u")
    (use,) = guest.hear("usage", "u")["mounts"]
    assert (use["path"], use["size"]) == (str(path), MIB)
    assert 100_000 <= use["used"] < 200_000
