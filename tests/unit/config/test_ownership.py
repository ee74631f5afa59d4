"""Whose moat.yaml is read."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from moat_nb.config.ownership import distrust
from moat_nb.errors import Problem
from tests.ordinary_user import ORDINARY

ME = ORDINARY.uid if os.getuid() == 0 else os.getuid()
ANOTHER = ME + 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of an ordinary user's, in a directory of the same."""
    file = tmp_path / "p" / "moat.yaml"
    file.parent.mkdir(mode=0o755)
    file.touch(0o644)
    for path in (file, file.parent):
        if os.getuid() == 0:
            os.chown(path, ORDINARY.uid, ORDINARY.gid)
    return file


def judged(file: Path, uid: int) -> Problem | None:
    return distrust(file, file.stat(), "moat.yaml", uid=uid)


def test_ones_own_file_is_read_and_by_root_too(file: Path) -> None:
    assert judged(file, ME) is None
    assert judged(file, 0) is None


def test_what_is_roots_is_read_by_everyone() -> None:
    assert judged(Path("/etc/hostname"), ME) is None


def test_another_users_file_is_refused(file: Path) -> None:
    problem = judged(file, ANOTHER)
    assert problem is not None
    assert "would be followed with your rights" in problem.what
    assert problem.hint == "read it, and copy it to a directory of your own"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o757])
@pytest.mark.parametrize("uid", [ME, 0])
def test_a_directory_that_others_may_write_to_is_refused(file: Path, mode: int, uid: int) -> None:
    file.parent.chmod(mode)
    problem = judged(file, uid)
    assert problem is not None
    assert f"can be written by everyone (mode {mode:04o})" in problem.what
    assert problem.hint.startswith(f"chmod o-w {file.parent}")


def test_a_file_that_others_may_write_to_is_refused(file: Path) -> None:
    file.chmod(0o666)
    problem = judged(file, ME)
    assert problem is not None
    assert problem.hint.startswith(f"chmod o-w {file}")


def test_the_directory_is_judged_and_not_a_sticky_one_above_it(file: Path) -> None:
    file.parent.parent.chmod(0o1777)
    assert judged(file, ME) is None


def with_group(status: os.stat_result, gid: int, mode: int) -> os.stat_result:
    words = list(status)
    words[0], words[5] = mode, gid
    return os.stat_result(words)


def test_a_group_may_write_if_it_is_the_users_own_or_roots(file: Path) -> None:
    status = file.stat()
    shared = next(g for g in grp.getgrall() if g.gr_gid not in (0, ME) and g.gr_name != "root")
    assert distrust(file, with_group(status, 0, 0o100664), "f", uid=ME) is None
    problem = distrust(file, with_group(status, shared.gr_gid, 0o100664), "f", uid=ME)
    assert problem is not None and f"by the group {shared.gr_name}" in problem.what
    assert distrust(file, with_group(status, shared.gr_gid, 0o100644), "f", uid=ME) is None


def user(name: str, uid: int, gid: int) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/sh"))


@pytest.mark.parametrize(
    ("users", "members", "private"),
    [
        ([user("ada", ME, 7777)], [], True),
        ([user("ada", ME, 7777)], ["ada"], True),
        ([user("ada", ME, 7777), user("toor", 0, 7777)], [], True),
        ([user("ada", ME, 7777)], ["bob"], False),
        ([user("ada", ME, 7777), user("bob", ANOTHER, 7777)], [], False),
        ([], [], False),  # a directory service lists nobody: who knows who else is in it
    ],
)
def test_ones_own_group_is_of_those_whose_first_group_it_is_too(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    users: list[pwd.struct_passwd],
    members: list[str],
    private: bool,
) -> None:
    group = grp.struct_group(("ada", "x", 7777, members))
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: user("ada", uid, 7777))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: group)
    problem = distrust(file, with_group(file.stat(), 7777, 0o100664), "f", uid=ME)
    assert (problem is None) == private
