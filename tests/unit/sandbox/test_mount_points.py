"""Mount points are made on the host as the user, and gone at the end; no link is followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from moat_nb.errors import StartError
from moat_nb.host.machine import User
from moat_nb.host.reaper import Reaper
from moat_nb.host.run_directory import Owner, RunDir, SandboxState, sandbox_states
from moat_nb.planning.mounts import Bind, EmptyFile, Mount, MountPlan, MountPoint, Tmpfs, build
from moat_nb.sandbox.mount_points import make_mount_points

ROOT = os.getuid() == 0
OWNER = User(12345, 12346) if ROOT else User(os.getuid(), os.getgid())


@dataclass(frozen=True)
class Start:
    """One sandbox's part of a start: what it promises, and where its note is."""

    reaper: Reaper
    run_dir: RunDir

    def make(self, plan: MountPlan) -> None:
        owner = Owner.of(os.getpid())
        assert owner is not None
        sandbox_state = SandboxState(
            id=self.run_dir.id,
            name="p",
            project="/p",
            runtime="docker",
            image=None,
            container="c",
            started=0.0,
            owner=owner,
        )
        make_mount_points([(plan, OWNER)], self.reaper, self.run_dir, sandbox_state)


@pytest.fixture
def starts(tmp_path: Path) -> Iterator[list[Start]]:
    base = tmp_path / "base"
    made = []
    for _ in range(4):
        reaper = Reaper()
        made.append(Start(reaper, RunDir.make(base, OWNER, reaper)))
    yield made
    for start in made:
        start.reaper.finish()
    assert list(base.iterdir()) == []


@pytest.fixture
def start(starts: list[Start]) -> Start:
    return starts[0]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    return directory


def plan(project: Path, *relatives: str, file: str | None = None) -> MountPlan:
    """Excludes at ``relatives`` of a workspace that has none of them."""
    mounts: list[Mount] = [Bind(source=str(project), target="/workspace")]
    mounts += [Tmpfs(target=f"/workspace/{relative}", size=1) for relative in relatives]
    missing = [MountPoint(root=str(project), relative=relative) for relative in relatives]
    if file is not None:
        mounts.append(EmptyFile(target=f"/workspace/{file}"))
        missing.append(MountPoint(root=str(project), relative=file, kind="file"))
    return MountPlan(mounts=build(mounts), missing=tuple(missing))


def tree(project: Path) -> list[str]:
    return sorted(str(path.relative_to(project)) for path in project.rglob("*"))


def test_missing_mount_points_are_made_as_the_user_and_removed_at_the_end(
    start: Start, project: Path
) -> None:
    start.make(plan(project, "node_modules", "a/b/.venv", file="a/.env"))
    assert tree(project) == ["a", "a/.env", "a/b", "a/b/.venv", "node_modules"]
    for path in project.rglob("*"):
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (OWNER.uid, OWNER.gid)
        assert path.is_file() == (path.name == ".env")
    start.reaper.finish()
    assert tree(project) == []


def test_what_was_there_stays_there(start: Start, project: Path) -> None:
    (project / "a" / "node_modules").mkdir(parents=True)
    start.make(plan(project, "a/node_modules", "a/.venv"))
    start.reaper.finish()
    assert tree(project) == ["a", "a/node_modules"]


def test_what_was_filled_meanwhile_stays_there(start: Start, project: Path) -> None:
    start.make(plan(project, "a/node_modules", file="a/.env"))
    (project / "a" / ".env").write_text("KEY=1")
    (project / "a" / "node_modules" / "x").touch()
    start.reaper.finish()
    assert tree(project) == ["a", "a/.env", "a/node_modules", "a/node_modules/x"]


@pytest.mark.parametrize("relative", ["link", "link/below"])
def test_a_link_that_appeared_since_the_plan_is_refused(
    start: Start, project: Path, tmp_path: Path, relative: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (project / "link").symlink_to(outside)
    with pytest.raises(StartError, match=f"^{project}/{relative}: cannot make the mount point"):
        start.make(plan(project, relative))
    start.reaper.finish()
    assert tree(outside) == []
    assert tree(project) == ["link"]


def test_a_file_in_the_place_of_a_directory_is_refused_with_the_mend(
    start: Start, project: Path
) -> None:
    (project / "a").touch()
    with pytest.raises(StartError) as raised:
        start.make(plan(project, "good", "a/b"))
    assert str(raised.value) == (
        f"{project}/a/b: cannot make the mount point: Not a directory; "
        "make it yourself, or take it out of moat.yaml"
    )
    start.reaper.finish()
    assert tree(project) == ["a"]


def test_a_place_that_cannot_be_written_is_refused_with_the_mend(start: Start) -> None:
    with pytest.raises(StartError, match=r"^/proc/x: cannot make the mount point: .*; make it you"):
        start.make(plan(Path("/proc"), "x"))


def test_volumes_directories_are_made_and_kept(start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "data" / "volumes" / "p" / "cache"
    for _ in range(2):
        start.make(MountPlan(mounts=(), keep=(str(directory),)))
    start.reaper.finish()
    status = directory.stat()
    assert (status.st_uid, status.st_gid) == (OWNER.uid, OWNER.gid)


def test_a_volumes_directory_that_cannot_be_made_is_said_to_be_so(start: Start) -> None:
    with pytest.raises(StartError, match=r"^/proc/v: cannot make the volume's directory: No such"):
        start.make(MountPlan(mounts=(), keep=("/proc/v",)))


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_of_two_sandboxes_of_a_project_the_last_to_end_removes_what_the_first_made(
    starts: list[Start], project: Path, first_to_end: int
) -> None:
    starts[0].make(plan(project, "a/node_modules"))
    starts[1].make(plan(project, "a/node_modules"))  # planned while there was none
    starts[first_to_end].reaper.finish()
    assert tree(project) == ["a", "a/node_modules"]
    starts[1 - first_to_end].reaper.finish()
    assert tree(project) == []


def test_however_many_sandboxes_share_a_mount_point_each_note_has_it_once(
    starts: list[Start], project: Path, tmp_path: Path
) -> None:
    for start in starts:
        start.make(plan(project, "a"))
    written = dict(sandbox_states(tmp_path / "base"))
    assert [
        len(sandbox_state.made) for sandbox_state in written.values() if sandbox_state is not None
    ] == [1, 1, 1, 1]


def test_sandboxes_that_share_nothing_each_remove_their_own(
    starts: list[Start], project: Path
) -> None:
    starts[0].make(plan(project, "a"))
    starts[1].make(plan(project, "b"))
    starts[0].reaper.finish()
    assert tree(project) == ["b"]
    starts[1].reaper.finish()
    assert tree(project) == []


def test_the_note_tells_what_is_covered_and_what_was_made(
    start: Start, project: Path, tmp_path: Path
) -> None:
    (project / "there").mkdir()
    start.make(plan(project, "there", "a/b"))
    written = dict(sandbox_states(tmp_path / "base"))[start.run_dir]
    assert written is not None
    assert sorted(written.covers) == [f"{project}/a/b", f"{project}/there"]
    made = [(made.root, made.relative, made.inode) for made in written.made]
    inodes = [(project / name).stat().st_ino for name in ("a", "a/b")]
    assert made == [(str(project), "a", inodes[0]), (str(project), "a/b", inodes[1])]
