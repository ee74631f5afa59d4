"""A path of one directory brought into another, whatever a sandbox has made of either."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from moat_nb.planning.walk import Budget, Over
from moat_nb.sandbox.tree import Entry, Tree, same_content


def bring(into: Tree, path: str, source: Tree) -> None:
    into.bring(path, source, source.entry(path), into.entry(path))


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[tuple[Tree, Tree]]:
    """Where it comes from, and where it goes."""
    for name in ("from", "to", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere/secret").write_text("secret")
    with Tree(tmp_path / "from") as source, Tree(tmp_path / "to") as into:
        yield source, into


def test_a_file_comes_with_its_bytes_its_time_and_its_right_to_run(
    trees: tuple[Tree, Tree],
) -> None:
    source, into = trees
    (source.top / "a/b").mkdir(parents=True)
    file = source.top / "a/b/run.sh"
    file.write_bytes(bytes(range(256)) * 9000)
    file.chmod(0o4755)
    os.utime(file, ns=(1, 1_500_000_000_123_456_789))
    bring(into, "a/b/run.sh", source)
    brought = into.top / "a/b/run.sh"
    assert brought.read_bytes() == file.read_bytes()
    assert stat.S_IMODE(brought.stat().st_mode) == 0o755
    assert brought.stat().st_mtime_ns == file.stat().st_mtime_ns
    assert same_content("a/b/run.sh", source, into, inf)
    brought.chmod(0o640)
    file.chmod(0o600)
    bring(into, "a/b/run.sh", source)
    assert stat.S_IMODE(brought.stat().st_mode) == 0o640


@pytest.mark.parametrize("before", ["nothing", "file", "directory", "link"])
@pytest.mark.parametrize("now", ["nothing", "file", "directory", "link"])
def test_whatever_is_there_becomes_whatever_comes(
    trees: tuple[Tree, Tree], before: str, now: str
) -> None:
    for tree, kind in zip(trees, (now, before), strict=True):
        path = tree.top / "x"
        if kind == "file":
            path.write_text(str(tree.top))
        elif kind == "directory":
            path.mkdir()
        elif kind == "link":
            path.symlink_to(f"{tree.top.name}-target")
    source, into = trees
    bring(into, "x", source)
    entry = into.entry("x")
    assert (entry.kind if entry else "nothing") == now
    if now == "link":
        assert (into.top / "x").readlink() == Path("from-target")
    if now == "file":
        assert same_content("x", source, into, inf)


def test_no_link_is_followed_on_either_side(trees: tuple[Tree, Tree], tmp_path: Path) -> None:
    source, into = trees
    elsewhere = tmp_path / "elsewhere"
    (source.top / "out").symlink_to(elsewhere)
    assert source.entry("out/secret") is None
    with pytest.raises(OSError), source.reading("out/secret"):
        pass
    (source.top / "way").mkdir()
    (source.top / "way/new").write_text("new")
    (into.top / "way").symlink_to(elsewhere)
    with pytest.raises(OSError):
        bring(into, "way/new", source)
    (source.top / "file").write_text("new")
    (into.top / "file").symlink_to(elsewhere / "secret")
    bring(into, "file", source)
    assert not (into.top / "file").is_symlink()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["secret"]
    assert (elsewhere / "secret").read_text() == "secret"


def test_neither_a_pipe_nor_what_fills_the_disk_comes(
    trees: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, into = trees
    os.mkfifo(source.top / "pipe")
    with pytest.raises(OSError, match="neither a file"):
        bring(into, "pipe", source)
    with pytest.raises(OSError, match="no file any more"), source.reading("pipe"):
        pass
    (source.top / "huge").write_bytes(bytes(8192))
    monkeypatch.setattr("moat_nb.sandbox.tree.RESERVE", 1 << 60)
    with pytest.raises(OSError, match="no room"):
        bring(into, "huge", source)
    assert list(into.top.iterdir()) == []


def test_a_directory_that_is_not_empty_stays(trees: tuple[Tree, Tree]) -> None:
    source, into = trees
    (into.top / "d").mkdir()
    (into.top / "d/mine").write_text("mine")
    with pytest.raises(OSError):
        bring(into, "d", source)
    assert (into.top / "d/mine").read_text() == "mine"


def test_entries_are_told_from_the_top_and_what_is_skipped_is_not_looked_into(
    trees: tuple[Tree, Tree],
) -> None:
    source, _ = trees
    (source.top / "a/skipped/x").mkdir(parents=True)
    (source.top / "a/b").write_text("b")
    found = [
        (path, entry.kind, skip)
        for path, entry, skip in source.entries(lambda path: path == "a/skipped", Budget())
    ]
    assert found[0] == ("a", "directory", False)
    assert sorted(found[1:]) == [("a/b", "file", False), ("a/skipped", "directory", True)]
    with pytest.raises(Over):
        list(source.entries(lambda path: False, Budget(entries=2)))


def test_what_stands_there_already_is_not_emptied(trees: tuple[Tree, Tree]) -> None:
    _, into = trees
    (into.top / ".env").write_text("mine")
    into.make_empty(".env", "file")
    into.make_empty("deep/node_modules", "directory")
    into.make_empty("deep/.env", "file")
    assert (into.top / ".env").read_text() == "mine"
    assert into.entry("deep/node_modules") == Entry(
        kind="directory", mode=(into.top / "deep/node_modules").stat().st_mode
    )
    assert (into.top / "deep/.env").read_text() == ""
