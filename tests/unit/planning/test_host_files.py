"""What a sandbox sees at a path, as far as the host's files tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.config.model import Exclude
from moat_nb.errors import ConfigError
from moat_nb.planning.host_files import View, expand, inspect


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
    assert expand(view, "/w", [glob]) == {"/w/data/deep": glob}
