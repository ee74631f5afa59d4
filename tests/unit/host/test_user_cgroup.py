"""A cgroup that root makes for another user: which files are written, and which are theirs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from moat_nb.host import user_cgroup
from moat_nb.host.cgroups import Place
from moat_nb.host.machine import User
from moat_nb.host.user_cgroup import UserCgroup

MIB = 1 << 20
STUDENT = User(12345, 12345)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, User]]:
    """What is handed to whom, by the path; nobody but root may do it for real."""
    found: dict[str, User] = {}

    def chown(path: str, uid: int, gid: int) -> None:
        os.stat(path)  # noqa: PTH116 - it must be there
        found[str(path)] = User(uid, gid)

    monkeypatch.setattr(user_cgroup.os, "chown", chown)
    yield found


def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Of version 2, whose directories have their files as soon as they are made."""
    ordinary = os.mkdir

    def mkdir(path: str, *rest: int) -> None:
        ordinary(path, *rest)
        names = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "memory.max")
        for name in (*names, "cgroup.max.depth", "cgroup.max.descendants"):
            Path(path, name).write_text("")
        Path(path, "cgroup.controllers").write_text("cpuset cpu io memory pids\n")

    monkeypatch.setattr(os, "mkdir", mkdir)
    return Place(version=2, parents=tuple((n, str(tmp_path)) for n in ("cpu", "memory", "pids")))


def test_of_version_1_each_hierarchy_has_a_directory_of_the_users(
    tmp_path: Path, given: dict[str, User]
) -> None:
    parents = {name: tmp_path / name for name in ("cpu", "memory", "pids")}
    for path in parents.values():
        path.mkdir()
    place = Place(version=1, parents=tuple((name, str(path)) for name, path in parents.items()))
    made = UserCgroup.at(place, "hub-12345")
    made.make(STUDENT, memory=64 * MIB, pids=20, cpus=None)
    own = tmp_path / "memory/moat-nb-hub-12345"
    assert (own / "memory.limit_in_bytes").read_text() == str(64 * MIB)
    assert (tmp_path / "pids/moat-nb-hub-12345/pids.max").read_text() == "20"
    assert given == {str(path / "moat-nb-hub-12345"): STUDENT for path in parents.values()}
    assert made.joined == tuple(
        str(path / "moat-nb-hub-12345/cgroup.procs") for path in parents.values()
    )


def test_of_version_2_its_controllers_are_handed_on_and_its_process_is_in_a_leaf(
    tmp_path: Path, given: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = UserCgroup.at(second(tmp_path, monkeypatch), "hub-12345")
    made.make(STUDENT, memory=64 * MIB, pids=20, cpus=0.5)
    own = tmp_path / "moat-nb-hub-12345"
    assert (own / "memory.max").read_text() == str(64 * MIB)
    assert (own / "cpu.max").read_text() == "50000 100000"
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert made.joined == (str(own / "server/cgroup.procs"),)
    names = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control")
    assert given.keys() == {
        *(str(at) for at in (own, own / "server")),
        *(str(at / name) for at in (own, own / "server") for name in names),
    }


def test_a_process_joins_by_writing_itself(tmp_path: Path) -> None:
    place = Place(version=1, parents=(("memory", str(tmp_path)),))
    (tmp_path / "moat-nb-x").mkdir()
    UserCgroup.at(place, "x").join()
    assert (tmp_path / "moat-nb-x/cgroup.procs").read_text() == "0"


def test_the_end_of_what_is_not_there_is_none(tmp_path: Path) -> None:
    place = Place(version=1, parents=(("memory", str(tmp_path)),))
    made = UserCgroup.at(place, "x")
    made.end()
    assert list(tmp_path.iterdir()) == []


def test_the_end_removes_those_below_first(tmp_path: Path) -> None:
    place = Place(version=1, parents=(("memory", str(tmp_path)),))
    (tmp_path / "moat-nb-x/moat-nb-3f9c01ab").mkdir(parents=True)
    UserCgroup.at(place, "x").end()
    assert list(tmp_path.iterdir()) == []


def test_no_depth_and_no_name_keeps_it_from_ending(tmp_path: Path) -> None:
    """A user may nest them until no path and no descriptor reaches."""
    place = Place(version=1, parents=(("memory", str(tmp_path)),))
    here = os.open(tmp_path, os.O_RDONLY)
    for name in ("moat-nb-x", *["n" * 240] * 25, *["d"] * 1100):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    UserCgroup.at(place, "x").end()
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cgroup, "END_SECONDS", 0.05)
    place = Place(version=1, parents=(("memory", str(tmp_path)),))
    (tmp_path / "moat-nb-x").mkdir()
    (tmp_path / "moat-nb-x/held").write_text("")
    with pytest.raises(OSError, match="does not end"):
        UserCgroup.at(place, "x").end()
