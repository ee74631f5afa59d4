"""A sandbox's directory, and whose it is."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.errors import StartError
from moat_nb.host.machine import User
from moat_nb.host.reaper import Reaper
from moat_nb.host.run_directory import (
    Made,
    Owner,
    RunDir,
    SandboxState,
    base_directory,
    make_base,
    sandbox_states,
    sweep,
)

ROOT = os.getuid() == 0
KERNEL = User(12345, 12346) if ROOT else User(os.getuid(), os.getgid())


@pytest.fixture
def reaper() -> Iterator[Reaper]:
    reaper = Reaper()
    yield reaper
    reaper.finish()


def own() -> Owner:
    owner = Owner.of(os.getpid())
    assert owner is not None
    return owner


def sandbox_state(owner: Owner, id: str = "0123abcd") -> SandboxState:
    return SandboxState(
        id=id,
        name="p",
        project="/home/ada/p",
        runtime="docker",
        image=None,
        container=f"moat-p-{id}",
        started=1.5,
        owner=owner,
    )


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


# ---------------------------------------------------------------- owners


def test_this_process_is_alive_and_the_same_each_time() -> None:
    assert own() == own()
    assert own().alive
    assert str(own()) == f"{os.getpid()}:{own().start}:{own().boot}"


def test_a_process_that_ended_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with child:
        owner = Owner.of(child.pid)
        assert owner is not None
        assert owner.alive
        child.kill()
    assert not owner.alive
    assert Owner.of(child.pid) is None


@pytest.mark.parametrize("change", [{"start": "1"}, {"boot": "another"}])
def test_a_later_process_of_the_same_number_is_not_taken_for_it(change: dict[str, str]) -> None:
    assert not replace(own(), **change).alive  # type: ignore[arg-type]


def test_a_name_that_looks_like_the_file_itself_does_not_confuse(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 2 (b"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(program), "1000"])
    owner = Owner.of(child.pid)
    child.kill()
    child.wait()
    assert owner is not None
    assert abs(int(owner.start) - int(own().start)) < 10**7


# ---------------------------------------------------------------- the base directory


@pytest.mark.parametrize(
    ("environ", "uid", "base"),
    [
        ({}, 1000, "/tmp/moat-nb-1000"),
        ({"XDG_RUNTIME_DIR": ""}, 1000, "/tmp/moat-nb-1000"),
        ({"XDG_RUNTIME_DIR": "/no/such/directory"}, 1000, "/tmp/moat-nb-1000"),
        ({"XDG_RUNTIME_DIR": "/tmp"}, 1000, "/tmp/moat-nb"),
        ({"XDG_RUNTIME_DIR": "/tmp/" + "x" * 90}, 1000, "/tmp/moat-nb-1000"),
    ],
)
def test_the_base_is_where_the_user_may_write_and_sockets_fit(
    environ: dict[str, str], uid: int, base: str
) -> None:
    assert base_directory(environ, uid) == Path(base)


def test_roots_base_can_be_passed_by_kernels_of_another_user() -> None:
    expected = "/run/moat-nb" if os.access("/run", os.W_OK) else "/tmp/moat-nb-0"
    assert base_directory({"XDG_RUNTIME_DIR": "/run/user/0"}, 0) == Path(expected)


def test_the_longest_socket_of_the_longest_base_can_be_bound(tmp_path: Path) -> None:
    # tmp_path is pytest's, and long; a directory of the greatest length that is accepted:
    parent = Path("/tmp") / secrets.token_hex(4).ljust(
        107 - len("/tmp//moat-nb/12345678/s/123456-5"), "x"
    )
    parent.mkdir()
    try:
        base = base_directory({"XDG_RUNTIME_DIR": str(parent)}, 1000)
        assert base == parent / "moat-nb"
        (base / "12345678" / "s").mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(base / "12345678" / "s" / "123456-5"))
    finally:
        subprocess.run(["rm", "-r", str(parent)], check=True)


def test_the_base_is_made_closed_and_an_open_one_is_closed(tmp_path: Path) -> None:
    base = tmp_path / "base"
    for _ in range(2):
        make_base(base)
        assert mode(base) == (0o711 if ROOT else 0o700)
        base.chmod(0o777)


def test_a_base_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "base").symlink_to("theirs")
    with pytest.raises(StartError, match="is not a directory of yours; remove it"):
        make_base(tmp_path / "base")


@pytest.mark.skipif(not ROOT, reason="only root can give a directory to somebody else")
def test_a_base_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    os.chown(tmp_path / "base", 12345, 12345)
    with pytest.raises(StartError, match="is not a directory of yours"):
        make_base(tmp_path / "base")


# ---------------------------------------------------------------- a sandbox's directory


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_only_the_sockets_directory_is_the_kernels(
    tmp_path: Path, reaper: Reaper, umask: int
) -> None:
    before = os.umask(umask)
    try:
        run_dir = RunDir.make(tmp_path / "base", KERNEL, reaper)
    finally:
        os.umask(before)
    assert (mode(run_dir.path), mode(run_dir.sockets)) == (0o711, 0o700)
    assert run_dir.path.stat().st_uid == os.getuid()
    status = run_dir.sockets.stat()
    assert (status.st_uid, status.st_gid) == (KERNEL.uid, KERNEL.gid)
    assert len(run_dir.id) == 8
    reaper.finish()
    assert list((tmp_path / "base").iterdir()) == []


def test_a_directory_that_cannot_be_made_is_said_to_be_so(reaper: Reaper) -> None:
    with pytest.raises(StartError, match=r"^/proc/nope/[0-9a-f]{8}: cannot be made: No such file"):
        RunDir.make(Path("/proc/nope"), KERNEL, reaper)


# ---------------------------------------------------------------- notes


def test_a_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "0123abcd")
    run_dir.path.mkdir()
    run_dir.write_state(sandbox_state(own()))
    assert list(sandbox_states(tmp_path)) == [(run_dir, sandbox_state(own()))]


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", "{}", '{"owner": null}', "\0", "\xff"])
def test_a_note_that_is_missing_or_half_written_is_none(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "0123abcd"
    path.mkdir()
    if text is not None:
        (path / "sandbox.json").write_bytes(text.encode("latin-1"))
    assert list(sandbox_states(tmp_path)) == [(RunDir(path), None)]
    assert sweep(tmp_path) == []
    assert path.exists()


def test_what_is_no_sandboxs_directory_is_not_looked_at(tmp_path: Path) -> None:
    for name in ("0123abc", "0123abcde", "0123ABCD", "other"):
        (tmp_path / name).mkdir()
    assert list(sandbox_states(tmp_path)) == []
    assert list(sandbox_states(tmp_path / "nowhere")) == []


def test_the_sweep_takes_what_a_dead_launcher_left_and_nothing_else(tmp_path: Path) -> None:
    dead = replace(own(), start="1")
    for id, owner in (("00000001", dead), ("00000002", own())):
        (tmp_path / id / "s").mkdir(parents=True)
        RunDir(tmp_path / id).write_state(sandbox_state(owner, id))
    (tmp_path / "00000003").mkdir()  # a start that is under way
    assert sweep(tmp_path) == ["00000001"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000002", "00000003"]


def test_the_sweep_removes_mount_points_that_are_as_they_were_made(tmp_path: Path) -> None:
    base, project = tmp_path / "base", tmp_path / "project"
    made = []
    for name in ("deep", "deep/lib", ".env", "filled", "shared", "replaced"):
        path = project / name
        if name in (".env", "filled"):
            path.touch()
        else:
            path.mkdir(parents=True)
        status = path.stat()
        made.append(Made(str(project), name, status.st_dev, status.st_ino))
    made[-1] = made[-1]._replace(inode=1)
    (project / "filled").write_text("KEY=1")
    for id in ("00000001", "00000002"):
        (base / id).mkdir(parents=True)
    dead = replace(sandbox_state(replace(own(), start="1"), "00000001"), made=tuple(made))
    RunDir(base / "00000001").write_state(dead)
    live = replace(sandbox_state(own(), "00000002"), covers=(f"{project}/shared",))
    RunDir(base / "00000002").write_state(live)
    sweep(base)
    assert sorted(path.name for path in project.iterdir()) == ["filled", "replaced", "shared"]
