"""What the image's build left in HOME, and what of it a sandbox's HOME gets."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from moat_nb.guest import skeleton


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "image"
    (made / ".config/deep").mkdir(parents=True)
    (made / ".gitconfig").write_text("[core]\n")
    (made / ".gitconfig").chmod(0o644)
    (made / ".config/deep/tool").write_text("#!/bin/sh\n")
    (made / ".config/deep/tool").chmod(0o755)
    (made / "link").symlink_to(".gitconfig")
    return made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


def fill(source: Path, home: Path, *ways: Path) -> None:
    skeleton.fill(str(source), str(home), set(map(str, ways)))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_files_directories_and_links_are_copied_for_their_owner(source: Path, home: Path) -> None:
    os.utime(source / ".gitconfig", (5, 5))
    fill(source, home)
    assert (home / ".gitconfig").read_text() == "[core]\n"
    assert (home / ".gitconfig").stat().st_mtime == 5
    assert (mode(home / ".gitconfig"), mode(home / ".config/deep/tool")) == (0o600, 0o700)
    assert (home / "link").readlink() == Path(".gitconfig")
    assert mode(home / ".config") == 0o700


def test_what_is_there_stays_and_what_is_no_file_is_left_out(source: Path, home: Path) -> None:
    (home / ".gitconfig").write_text("mine")
    (home / ".config").mkdir()
    (home / ".config/deep").symlink_to("/etc")
    os.mkfifo(source / "pipe")
    fill(source, home)
    assert (home / ".gitconfig").read_text() == "mine"
    assert (home / ".config/deep").is_symlink()
    assert not (home / "pipe").exists()
    assert not Path("/etc/tool").exists()


def test_nothing_is_copied_into_another_mount_but_into_the_way_to_one(
    source: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (home / ".config", home / ".config/deep", source / "way", home / "way"):
        path.mkdir()
    (source / "way/x").touch()
    mounts = dict.fromkeys(map(str, (home / ".config/deep", home / "way")))
    monkeypatch.setattr(skeleton, "mount_table", lambda: mounts)
    fill(source, home, home / "way")
    assert not list((home / ".config/deep").iterdir())
    assert (home / "way/x").exists()


def test_what_is_over_the_limit_is_a_link_to_the_images(
    source: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "a-model").write_bytes(bytes(5000))
    (source / "small").write_bytes(bytes(5))
    monkeypatch.setattr(skeleton, "BYTES", 1000)
    fill(source, home)
    assert (home / "a-model").readlink() == source / "a-model"
    assert not (home / "small").is_symlink()


def test_of_too_many_entries_the_rest_is_linked(
    source: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skeleton, "ENTRIES", 0)
    fill(source, home)
    assert (home / ".config").readlink() == source / ".config"
    assert (home / ".gitconfig").readlink() == source / ".gitconfig"


def test_without_anything_of_the_image_nothing_happens(tmp_path: Path, home: Path) -> None:
    fill(tmp_path / "none", home)
    assert not list(home.iterdir())
