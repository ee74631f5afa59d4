"""protected_watch.py: what is told of names that are made, replaced or changed. On real files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from moat_nb.planning.protected import Look
from moat_nb.sandbox import protected_watch
from moat_nb.sandbox.protected_watch import ProtectedWatch

Told = list[tuple[str, str]]
Begin = Callable[..., tuple[ProtectedWatch, Told]]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Watch what a look at the directory finds, within ``limits`` (the module's names); ``told``
    has the kinds and paths below it."""

    def start(**limits: int) -> tuple[ProtectedWatch, Told]:
        for name, value in limits.items():
            monkeypatch.setattr(protected_watch, name, value)
        found = Look(top=str(tmp_path))()
        told: Told = []

        def tell(kind: str, words: str) -> None:
            path = words.split(" ", maxsplit=1)[0]
            told.append((kind, os.path.relpath(path, tmp_path)))

        watch = ProtectedWatch([str(tmp_path)], [*found.directories], [*found.read_only], tell)
        return watch, told

    return start


def test_what_was_there_is_not_told(tmp_path: Path, begin: Begin) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "moat.yaml").touch()
    (tmp_path / "a/.envrc").touch()
    watch, told = begin()
    watch.look()
    (tmp_path / "ordinary").touch()
    (tmp_path / "a/ordinary").touch()
    watch.look()
    assert told == []


@pytest.mark.parametrize(
    "name",
    [".envrc", "jupyter_server_config.py", "HEAD", "a/.vscode", "a/x.code-workspace", "a/.git"],
)
def test_a_name_that_is_made_is_told_once(tmp_path: Path, begin: Begin, name: str) -> None:
    (tmp_path / "a").mkdir()
    watch, told = begin()
    (tmp_path / name).touch()
    for _ in range(3):
        watch.look()
        (tmp_path / "a/more").touch()
    assert told == [("protected_made", name)]


def test_a_module_that_a_kernels_start_imports_is_told_where_one_may_start(
    tmp_path: Path, begin: Begin
) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/__init__.py").touch()
    watch, told = begin()
    (tmp_path / "p/types.py").touch()
    for package in ("re", "p/re"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "contextlib.py").touch()
    watch.look()
    assert sorted(told) == [
        ("protected_made", "contextlib.py"),
        ("protected_made", "re/__init__.py"),
    ]
    (tmp_path / "p/a.ipynb").touch()
    watch.look()
    assert ("protected_made", "p/types.py") in told


def test_what_is_made_in_directories_that_are_made_is_told(tmp_path: Path, begin: Begin) -> None:
    """Whether at once, or later."""
    (tmp_path / ".git/info").mkdir(parents=True)
    watch, told = begin()
    (tmp_path / "new/er").mkdir(parents=True)
    (tmp_path / "new/er/.envrc").touch()
    watch.look()
    (tmp_path / ".github").mkdir()
    watch.look()
    (tmp_path / ".github/workflows").mkdir()
    (tmp_path / ".git/modules/x").mkdir(parents=True)
    (tmp_path / ".git/modules/x/config").touch()
    (tmp_path / ".git/commondir").touch()
    (tmp_path / ".git/index.lock").touch()
    watch.look()
    assert told[0] == ("protected_made", "new/er/.envrc")
    assert set(told[1:]) == {
        ("protected_made", ".git/commondir"),
        ("protected_made", ".git/modules/x/config"),
        ("protected_made", ".github/workflows"),
    }


def test_checkpoints_that_a_server_makes_are_not_told_and_a_link_there_is(
    tmp_path: Path, begin: Begin
) -> None:
    checkpoints = tmp_path / ".ipynb_checkpoints"
    watch, told = begin()
    checkpoints.mkdir()
    (checkpoints / "a-checkpoint.ipynb").touch()
    watch.look()
    assert told == []
    (checkpoints / "b-checkpoint.ipynb").symlink_to("/etc/passwd")
    watch.look()
    assert told.pop() == ("protected_made", ".ipynb_checkpoints/b-checkpoint.ipynb")
    checkpoints.rename(tmp_path / "aside")
    checkpoints.symlink_to("/etc")
    watch.look()
    assert told == [("protected_made", ".ipynb_checkpoints")]


def test_a_file_that_is_replaced_is_told_and_its_changes_then(tmp_path: Path, begin: Begin) -> None:
    file, new = tmp_path / "moat.yaml", tmp_path / "new"
    file.touch()
    watch, told = begin()
    file.write_text("written in place: the mount is on it still")
    watch.look()
    assert told == []
    new.touch()
    new.replace(file)
    watch.look()
    assert told == [("protected_lost", "moat.yaml")]
    watch.look()
    file.write_text("changed")
    watch.look()
    watch.look()
    assert told[1:] == [("protected_changed", "moat.yaml")]


def test_a_parent_that_is_renamed_or_a_link_by_now_is_told_and_not_followed(
    tmp_path: Path, begin: Begin
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.envrc").touch()
    elsewhere = tmp_path.with_name("elsewhere")
    elsewhere.mkdir()
    watch, told = begin()
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").symlink_to(elsewhere)
    (elsewhere / ".vscode").mkdir()
    watch.look()
    assert ("protected_lost", "a/.envrc") in told
    assert not any(".vscode" in path for _, path in told)


def test_what_is_told_is_harmless_in_a_terminal(tmp_path: Path) -> None:
    told: Told = []
    directory = tmp_path / "\x1b]0;title\x07"
    directory.mkdir()
    watch = ProtectedWatch([str(tmp_path)], [str(directory)], [], lambda *one: told.append(one))
    (directory / ".envrc").touch()
    watch.look()
    ((kind, words),) = told
    assert kind == "protected_made"
    assert words.isprintable()
    assert "direnv, in the shell" in words


def test_what_is_allowed_is_not_told(tmp_path: Path) -> None:
    told: Told = []
    top = str(tmp_path)
    watch = ProtectedWatch([top], [top], [], lambda *one: told.append(one), [".vscode", "a"])
    (tmp_path / ".vscode").mkdir()
    (tmp_path / "a/.git").mkdir(parents=True)
    watch.look()
    assert told == []


def test_the_watch_is_bounded(tmp_path: Path, begin: Begin) -> None:
    watch, told = begin(MAX_DIRECTORIES=5)
    for number in range(20):
        (tmp_path / f"{number}").mkdir()
    watch.look()
    assert len(watch._directories) == 5
    (tmp_path / ".envrc").touch()
    (tmp_path / "more").mkdir()
    watch.look()
    assert told.pop() == ("protected_made", ".envrc")
    ((kind, first),) = told
    assert (kind, first.isdecimal()) == ("protected_full", True)
    for number in range(20):
        (tmp_path / f"{number}").rmdir()
    watch.look()
    (tmp_path / "room").mkdir()
    (tmp_path / "room/.envrc").touch()
    watch.look()
    assert told[1:] == [("protected_made", "room/.envrc")]


def test_of_very_many_names_the_first_are_told(tmp_path: Path, begin: Begin) -> None:
    watch, told = begin(MAX_TOLD=5)
    for look in range(3):
        for number in range(20):
            (tmp_path / f"{look}-{number}.code-workspace").touch()
        watch.look()
    assert [kind for kind, _ in told] == ["protected_made"] * 5 + ["protected_full"]


def test_what_is_made_beside_very_many_entries_is_told(tmp_path: Path, begin: Begin) -> None:
    for number in range(9):
        (tmp_path / f"{number}").touch()
    watch, told = begin(MAX_ENTRIES=3)
    (tmp_path / ".envrc").touch()
    (tmp_path / ".git/hooks").mkdir(parents=True)
    watch.look()
    assert set(told) == {
        *(("protected_made", ".envrc"), ("protected_made", ".git")),
        ("protected_made", ".git/hooks"),
    }


def test_a_directory_that_is_replaced_is_watched_again_with_what_is_below(
    tmp_path: Path, begin: Begin
) -> None:
    for name in ("src/a", "gone"):
        (tmp_path / name).mkdir(parents=True)
    watch, told = begin()
    (tmp_path / "src").rename(tmp_path / "old")
    (tmp_path / "src/a/b").mkdir(parents=True)
    (tmp_path / "src/.envrc").touch()
    (tmp_path / "src/a/.vscode").mkdir()
    (tmp_path / "gone").rmdir()
    watch.look()
    assert set(told) == {
        ("protected_made", "src/.envrc"),
        ("protected_made", "src/a/.vscode"),
    }
    del told[:]
    for name in ("src/a/b/.envrc", "src/.mcp.json", "old/a/.envrc"):
        (tmp_path / name).touch()
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone/.envrc").touch()
    watch.look()
    assert {path for _, path in told} == {
        *("src/a/b/.envrc", "src/.mcp.json", "old/a/.envrc", "gone/.envrc"),
    }


def test_a_link_in_a_directorys_place_does_not_end_its_watch(tmp_path: Path, begin: Begin) -> None:
    (tmp_path / "src").mkdir()
    watch, told = begin()
    (tmp_path / "src").rmdir()
    (tmp_path / "src").symlink_to("/etc")
    watch.look()
    (tmp_path / "src").unlink()
    (tmp_path / "src").mkdir()
    watch.look()
    (tmp_path / "src/.envrc").touch()
    watch.look()
    assert told == [("protected_made", "src/.envrc")]


def test_it_looks_by_itself_and_once_more_at_its_end(
    tmp_path: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protected_watch, "SECONDS", 1e9)
    watch, told = begin()
    watch.start()
    (tmp_path / ".envrc").touch()
    watch.close()
    assert told == [("protected_made", ".envrc")]
