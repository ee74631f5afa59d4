"""What a sandbox sees at a path, as far as the host's files tell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from moat_nb.config.model import Exclude
from moat_nb.errors import ConfigError
from moat_nb.planning.host_files import LONGEST_PATH, MOST_LEVELS, View, expand, inspect


@pytest.fixture
def view(tmp_path: Path) -> View:
    for name in ("project/src", "project/data", "elsewhere/deep"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "project/.env").touch()
    sources = {"/w": tmp_path / "project", "/w/data": tmp_path / "elsewhere"}
    return View({**{target: str(source) for target, source in sources.items()}, "/w/new/v": None})


def test_a_path_is_placed_in_the_nearest_mount_above_it(view: View, tmp_path: Path) -> None:
    assert view.place("/w/src/a") == (str(tmp_path / "project"), "src/a")
    assert view.place("/w/data/deep") == (str(tmp_path / "elsewhere"), "deep")
    assert view.place("/w/data") == (str(tmp_path / "project"), "data")
    assert view.place("/w/new/v/a") == (None, "a")
    assert view.place("/usr") == (None, "")


def test_the_hosts_entries_and_those_of_mounts_are_seen_together(
    view: View, tmp_path: Path
) -> None:
    assert view.children("/w", str(tmp_path / "project")) == [
        (".env", str(tmp_path / "project/.env"), False),
        ("data", str(tmp_path / "elsewhere"), True),
        ("new", str(tmp_path / "project/new"), True),
        ("src", str(tmp_path / "project/src"), True),
    ]


def test_a_path_is_of_the_kind_that_the_host_has_there(view: View, tmp_path: Path) -> None:
    kinds = [inspect(view, f"/w/{name}", "f") for name in (".env", "src", "gone", "data/deep")]
    assert kinds == ["file", "directory", None, "directory"]
    (tmp_path / "project/link").symlink_to("src")
    with pytest.raises(ConfigError, match="symbolic link"):
        inspect(view, "/w/link", "f")


def test_a_glob_gives_what_it_matches_in_mounts_below_too(view: View) -> None:
    glob = Exclude(pattern="**/deep", where="f")
    assert expand(view, "/w", [glob], 9).matches == {"/w/data/deep": glob}


def test_what_is_too_deep_to_be_looked_into_is_covered_whole(tmp_path: Path) -> None:
    before = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(3000):
            Path("d").mkdir()
            os.chdir("d")
        Path("secret").touch()
    finally:
        os.chdir(before)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "secret").touch()
    view = View({"/w": str(tmp_path)})
    globs = [Exclude(pattern="**/secret", where="here")]
    try:
        matches = expand(view, "/w", globs, 9).matches
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # shutil would recurse
    assert matches == {
        "/w/x/secret": globs[0],
        "/w" + "/d" * (MOST_LEVELS + 1): globs[0],
    }
    # Long names are as many levels in fewer.
    for name in ("a" * 250, "b" * 250):
        (tmp_path / "/".join([name] * 12)).mkdir(parents=True)
    found = expand(view, "/w", globs, 9).matches
    assert len(found) == 3
    assert all(len(path) < LONGEST_PATH + 300 for path in found)


def test_a_deep_directory_that_no_glob_reaches_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * (MOST_LEVELS + 5))).mkdir(parents=True)
    view = View({"/w": str(tmp_path)})
    assert expand(view, "/w", [Exclude(pattern="*/secret", where="here")], 9).matches == {}


def test_a_match_whose_name_is_no_text_is_refused_in_one_short_line(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff" + b"x" * 240)).mkdir()
    view = View({"/w": str(tmp_path)})
    assert expand(view, "/w", [Exclude(pattern="**/y", where="here")], 9).matches == {}
    with pytest.raises(ConfigError, match="is not UTF-8; rename it") as refused:
        expand(view, "/w", [Exclude(pattern="*x", where="here")], 9)
    assert len(str(refused.value)) < 400
    assert "\udcff" not in str(refused.value)
