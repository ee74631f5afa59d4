"""What a sandbox, or the user, does while a copy is compared and brought to the other side."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moat_nb.errors import MoatError
from moat_nb.sandbox import comparison
from moat_nb.sandbox.tree import Entry, Tree
from moat_nb.sandbox.workspace_copy import WorkspaceCopy
from tests.unit.deep import nest
from tests.unit.sandbox.test_workspace_copy import copy, inside, project, told

__all__ = ["copy", "inside", "project"]  # the fixtures

Do = Callable[[], object]


@pytest.fixture
def at_bring(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``at_bring(path, do)`` has ``do`` called just before ``path`` is brought, or ``after``."""
    real = Tree.bring

    def patch(path: str, do: Do, *, after: bool = False) -> None:
        def bring(self: Tree, brought: str, *rest: Any) -> Entry | None:
            if brought == path and not after:
                do()
            made = real(self, brought, *rest)
            if brought == path and after:
                do()
            return made

        monkeypatch.setattr(Tree, "bring", bring)

    return patch


def test_what_is_judged_is_what_is_brought(
    copy: WorkspaceCopy, project: Path, inside: Path, at_bring: Callable[..., None]
) -> None:
    note = inside / "note.txt"
    note.write_text("x")

    def swap() -> None:
        note.unlink()
        note.symlink_to("/etc/passwd")

    at_bring("note.txt", swap)
    assert copy.pull().failed == (("note.txt", os.strerror(errno.ELOOP)),)
    assert not os.path.lexists(project / "note.txt")


def test_a_notebook_that_gets_widgets_meanwhile_does_not_come(
    copy: WorkspaceCopy, project: Path, inside: Path, at_bring: Callable[..., None]
) -> None:
    notebook = inside / "n.ipynb"
    notebook.write_text("{}")
    at_bring("n.ipynb", lambda: notebook.write_text('{"metadata": {"widgets": {"a": 1}}}'))
    assert copy.pull().failed == (("n.ipynb", "it has changed meanwhile"),)
    assert not (project / "n.ipynb").exists()


@pytest.mark.parametrize("path", ["src/a.py", "new"])
def test_what_the_user_writes_while_it_is_pulled_stays(
    copy: WorkspaceCopy, project: Path, inside: Path, at_bring: Callable[..., None], path: str
) -> None:
    (inside / path).write_text("theirs\n")
    at_bring(path, lambda: (project / path).write_text("my newer words\n"))
    assert copy.pull().failed == ((path, "it has changed meanwhile"),)
    assert (project / path).read_text() == "my newer words\n"


def test_what_a_sandbox_writes_while_it_starts_stays(
    copy: WorkspaceCopy, project: Path, inside: Path, at_bring: Callable[..., None]
) -> None:
    (project / "src/a.py").write_text("host\n")
    at_bring("src/a.py", lambda: (inside / "src/a.py").write_text("its work\n"))
    copy.refresh()
    assert (inside / "src/a.py").read_text() == "its work\n"


def test_what_is_changed_just_after_is_a_change(
    copy: WorkspaceCopy, project: Path, inside: Path, at_bring: Callable[..., None]
) -> None:
    (inside / "src/a.py").write_text("one\n")
    at_bring("src/a.py", lambda: (inside / "src/a.py").write_text("later\n"), after=True)
    copy.pull()
    assert told(copy.differences()) == [("changed", "src/a.py")]
    (project / "empty/new").write_text("one\n")
    at_bring("empty/new", lambda: (project / "empty/new").write_text("two\n"), after=True)
    copy.refresh()
    copy.refresh()
    assert (inside / "empty/new").read_text() == "two\n"


def test_what_was_moved_away_meanwhile_is_not_taken_for_removed(
    copy: WorkspaceCopy, project: Path, inside: Path, at_bring: Callable[..., None]
) -> None:
    (inside / "src/a.py").write_text("a = 2\n")
    at_bring("src/a.py", lambda: (inside / "src").rename(inside / "away"))
    assert [path for path, _ in copy.pull().failed] == ["src/a.py"]
    assert (project / "src/a.py").read_text() == "a = 1\n"


@pytest.mark.parametrize("side", ["host", "copy"])
def test_what_cannot_be_looked_at_is_not_taken_for_removed(
    copy: WorkspaceCopy, project: Path, inside: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    real = os.stat
    parent = ((project if side == "host" else inside) / "src").stat().st_ino

    def stat(name: Any, **options: Any) -> Any:
        if name == "a.py" and os.fstat(options["dir_fd"]).st_ino == parent:
            raise OSError(5, "EIO")
        return real(name, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", stat)
        assert copy.pull(force=True).done == ()
        copy.refresh()
    assert (inside / "src/a.py").exists()
    assert (project / "src/a.py").exists()


def test_nothing_is_removed_where_something_failed(
    copy: WorkspaceCopy, project: Path, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been moved there."""
    (inside / "src/a.py").rename(inside / "src/z.py")
    monkeypatch.setattr("moat_nb.sandbox.tree.RESERVE", 1 << 60)
    pulled = copy.pull()
    assert pulled.failed == (("src/z.py", "there is no room for it"),)
    assert told(pulled.left) == [("removed", "src/a.py")]
    assert (project / "src/a.py").exists()


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_directory_that_became_something_else_takes_nothing_with_it(
    copy: WorkspaceCopy, project: Path, inside: Path, kind: str
) -> None:
    shutil.rmtree(inside / "src")
    if kind == "link":
        (inside / "src").symlink_to("/etc")
    else:
        os.mkfifo(inside / "src")
    assert copy.pull().done == ()
    assert (project / "src/a.py").exists()


def test_kinds_change_to_and_fro(copy: WorkspaceCopy, project: Path, inside: Path) -> None:
    (inside / "src/a.py").unlink()
    (inside / "src/a.py").mkdir()
    (inside / "src/a.py/x").write_text("x")
    (inside / "empty").rmdir()
    (inside / "empty").write_text("now a file")
    pulled = copy.pull()
    assert pulled.failed == ()
    assert (project / "src/a.py/x").read_text() == "x"
    assert (project / "empty").read_text() == "now a file"
    shutil.rmtree(inside / "src/a.py")
    (inside / "src/a.py").write_text("a file again")
    assert copy.pull().failed == ()
    assert (project / "src/a.py").read_text() == "a file again"
    assert copy.differences() == ()


def git(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    options = ("user.name=a", "user.email=a@b", "safe.directory=*")
    given = [word for option in options for word in ("-c", option)]
    argv = ["git", *given, *words]
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=False)


def test_no_object_of_a_repository_is_removed(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    shutil.rmtree(project / ".git")
    git(project, "init", "-q", "-b", "main")
    git(project, "add", "src/a.py")
    git(project, "commit", "-qm", "1")
    git(project, "checkout", "-qb", "old")
    (project / "work").write_text("my work")
    git(project, "add", "work")
    git(project, "commit", "-qm", "2")
    git(project, "checkout", "-q", "main")
    copy.refresh()
    git(inside, "branch", "-D", "old")
    git(inside, "reflog", "expire", "--expire=now", "--all")
    git(inside, "gc", "-q", "--prune=now")
    git(project, "branch", "keep", "old")
    copy.pull()
    assert git(project, "cat-file", "-p", "keep:work").stdout == "my work"
    shutil.rmtree(inside / ".git")
    (inside / ".git").symlink_to("elsewhere")
    copy.pull()
    assert git(project, "status").returncode == 0
    assert git(project, "cat-file", "-p", "keep:work").stdout == "my work"


def test_a_repository_that_both_changed_comes_whole_or_not_at_all(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    shutil.rmtree(project / ".git")
    git(project, "init", "-q", "-b", "main")
    git(project, "add", "src/a.py")
    git(project, "commit", "-qm", "1")
    copy.refresh()
    (inside / "src/a.py").write_text("a = 2\n")
    git(inside, "commit", "-qam", "theirs")
    (project / "mine").write_text("mine")
    git(project, "add", "mine")
    git(project, "commit", "-qm", "mine")
    for pulled in (copy.pull(), copy.pull(force=True), copy.pull([".git"])):
        assert not any(one.path.startswith(".git/") for one in pulled.done)
    assert git(project, "log", "--format=%s").stdout == "mine\n1\n"
    assert (project / "src/a.py").read_text() == "a = 2\n"
    copy.pull([".git"], force=True)
    assert git(project, "log", "--format=%s").stdout == "theirs\n1\n"
    assert git(project, "fsck").returncode == 0


def test_an_exclude_that_is_taken_out_is_copied(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    less = replace(copy, patterns=("node_modules", "**/__pycache__"))
    less.pull(force=True)
    assert less.refresh() == ()
    less.pull(force=True)
    assert (project / ".env").read_text() == "SECRET=1"
    assert (inside / ".env").read_text() == "SECRET=1"


def test_what_stood_for_an_exclude_goes_with_it(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    (project / ".env").unlink()
    less = replace(copy, patterns=("node_modules", "**/__pycache__"))
    less.refresh()
    assert less.differences() == ()
    assert not (inside / ".env").exists()


def test_an_exclude_that_came_later_keeps_a_sandboxs_work_and_says_so(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    (project / "key.txt").write_text("SECRET")
    copy.refresh()
    (inside / "src/a.py").write_text("hours of work\n")
    later = replace(copy, patterns=(*copy.patterns, "key.txt", "src"))
    later.pull()
    (words,) = later.refresh()
    assert "changed by a sandbox and excluded since" in words
    assert (inside / "src/a.py").read_text() == "hours of work\n"
    assert (inside / "key.txt").read_text() == ""


def test_a_hole_stays_one_and_takes_no_time(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    with (inside / "sparse").open("wb") as file:
        file.truncate(1 << 42)
        file.seek(1 << 30)
        file.write(b"data")
    assert told(copy.pull().done) == [("added", "sparse")]
    status = (project / "sparse").stat()
    assert (status.st_size, status.st_blocks < 1 << 13) == (1 << 42, True)
    (inside / "sparse").touch()
    assert copy.differences() == ()


def test_what_a_killed_run_left_is_neither_copied_nor_kept(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    (project / ".moat-0123456789abcdef").write_text("half")
    (inside / "src/.moat-0123456789abcdef").write_text("half")
    copy.refresh()
    assert copy.differences() == ()
    assert not (project / ".moat-0123456789abcdef").exists()
    assert not (inside / "src/.moat-0123456789abcdef").exists()


def test_what_is_the_same_is_read_once(
    copy: WorkspaceCopy, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (inside / "src/a.py").touch()
    read: list[str] = []
    real = comparison.same_content

    def same_content(path: str, *rest: Any) -> bool:
        read.append(path)
        return real(path, *rest)

    monkeypatch.setattr(comparison, "same_content", same_content)
    copy.refresh()
    read.clear()
    copy.refresh()
    assert copy.differences() == ()
    assert read == []


def test_a_copy_that_was_removed_by_hand_is_made_anew(copy: WorkspaceCopy, inside: Path) -> None:
    shutil.rmtree(inside)
    assert copy.differences() == ()
    copy.refresh()
    assert (inside / "src/a.py").exists()
    assert copy.differences() == ()


def test_however_deep_it_is_it_can_be_removed(copy: WorkspaceCopy, inside: Path) -> None:
    nest(inside, "longname12", 1500)
    with pytest.raises(MoatError, match="too deep ones"):
        copy.differences()
    copy.discard()
    copy.refresh()
    assert copy.differences() == ()


def test_who_has_little_time_waits_for_nobody(copy: WorkspaceCopy) -> None:
    with copy.locked(), pytest.raises(MoatError, match="another moat-nb is at work"):
        replace(copy, seconds=1.0).differences()


def test_new_files_have_the_users_mask_and_others_their_owner(
    copy: WorkspaceCopy, project: Path, inside: Path
) -> None:
    if os.geteuid() == 0:
        os.chown(project / "src/a.py", 12345, 12345)
    before = (project / "src/a.py").stat()
    (inside / "src/a.py").write_text("theirs\n")
    (inside / "new").write_text("new")
    copy.pull(mask=0o077)
    assert (project / "new").stat().st_mode & 0o777 == 0o600
    assert (project / "src/a.py").stat().st_uid == before.st_uid
