"""What is removed after a sandbox, and what must stay: each kind of promise by itself."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from moat_nb.host import cleanup
from moat_nb.host.cleanup import clean, remove_mount_point, remove_tree, write_task
from tests.unit.deep import nest


def identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def test_a_promise_that_the_launcher_died_in_the_middle_of_was_not_acted_on(
    tmp_path: Path,
) -> None:
    for name in ("whole", "half"):
        (tmp_path / name).mkdir()
    whole, half = (
        write_task({"kind": "directory", "path": str(tmp_path / name)})
        for name in ("whole", "half")
    )
    words = [sys.executable, "-I", "-S", cleanup.__file__]
    subprocess.run(words, input=whole + half[:-1], check=True, timeout=300)
    assert [path.name for path in tmp_path.iterdir()] == ["half"]


# ---------------------------------------------------------------- mount points


def replaced_by_a_link(path: Path) -> None:
    path.rmdir()
    path.symlink_to(path.parent)


def filled(path: Path) -> None:
    (path / "package.json").touch()


def replaced_by_a_file(path: Path) -> None:
    other = path.with_name("other")
    other.touch()  # before the inode of what it replaces is free to be used again
    path.rmdir()
    other.rename(path)


def replaced_by_another(path: Path) -> None:
    other = path.with_name("other")
    other.mkdir()
    path.rmdir()
    other.rename(path)


@pytest.mark.parametrize(
    "change", [replaced_by_a_link, filled, replaced_by_a_file, replaced_by_another]
)
def test_a_mount_point_that_is_no_longer_ours_or_empty_is_left_alone(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "node_modules"
    path.mkdir()
    ours = identity(path)
    change(path)
    clean([promise(path, None), promise(path, ours)], linger=0)
    assert os.path.lexists(path)


@pytest.mark.parametrize("inode", [True, False])
def test_a_mount_point_that_is_ours_and_empty_is_removed(tmp_path: Path, inode: bool) -> None:
    path = tmp_path / "node_modules"
    path.mkdir()
    clean([promise(path, None), *([promise(path, identity(path))] if inode else [])], linger=0)
    assert not path.exists()


def test_a_mount_point_that_somebody_else_made_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "node_modules"
    path.mkdir()
    clean([promise(path, None), promise(path, (0, 0))], linger=0)
    assert path.exists()


@pytest.mark.parametrize(("content", "left"), [("", False), ("SECRET=1", True)])
def test_a_covered_file_that_was_ours_is_removed_only_while_it_is_empty(
    tmp_path: Path, content: str, left: bool
) -> None:
    path = tmp_path / ".env"
    path.write_text(content)
    clean([promise(path, identity(path))], linger=0)
    assert path.exists() == left


def promise(path: Path, inode: tuple[int, int] | None) -> dict[str, object]:
    fields = {"root": str(path.parent), "relative": path.name}
    return {"kind": "mount_point", **fields, "inode": None if inode is None else list(inode)}


def test_what_is_neither_directory_nor_file_is_not_removed_as_a_mount_point(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "fifo")
    remove_mount_point(str(tmp_path), "fifo", None)
    assert (tmp_path / "fifo").exists()


def test_no_link_is_followed_on_the_way_to_a_mount_point(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "node_modules").mkdir(parents=True)
    root.mkdir()
    (root / "packages").symlink_to(outside)
    with pytest.raises(NotADirectoryError):
        remove_mount_point(str(root), "packages/node_modules", None)
    assert (outside / "node_modules").exists()


# ---------------------------------------------------------------- directories


def test_a_tree_is_removed_with_its_links_and_nothing_that_they_point_to(tmp_path: Path) -> None:
    outside, run = tmp_path / "outside", tmp_path / "run"
    (outside / "below").mkdir(parents=True)
    (outside / "file").write_text("x")
    (run / "s").mkdir(parents=True)
    for directory in (run, run / "s"):
        (directory / "to-directory").symlink_to(outside)
        (directory / "to-file").symlink_to(outside / "file")
        (directory / "to-nothing").symlink_to("nowhere")
    os.mkfifo(run / "s" / "fifo")
    remove_tree(str(run))
    assert not run.exists()
    assert sorted(path.name for path in outside.iterdir()) == ["below", "file"]


AS_ORDINARY_USER = """
import os, sys
sys.path.insert(0, sys.argv[2])
if os.getuid() == 0:
    os.setgid(12345), os.setgroups([]), os.setuid(12345)
import cleanup
os.mkdir(sys.argv[1])
path = sys.argv[1]
for name in ("s", "a", "b"):
    path += "/" + name
    os.mkdir(path)
    open(path + "/file", "w").close()
os.chmod(path, 0)
os.chmod(os.path.dirname(path), 0o200)
os.chmod(os.path.dirname(os.path.dirname(path)), 0o500)
cleanup.remove_tree(sys.argv[1])
"""


def test_a_tree_with_closed_directories_is_removed_by_its_owner(run_directory: Path) -> None:
    # Root may do everything, so this is tried as somebody who may not.
    shared = run_directory / f"closed-{secrets.token_hex(4)}"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "cleanup.py").write_text(Path(cleanup.__file__).read_text())
    python = "/usr/bin/python3" if os.getuid() == 0 else sys.executable
    words = [python, "-I", "-c", AS_ORDINARY_USER, str(shared / "run"), str(shared)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (shared / "run").exists()


def test_a_tree_nested_deeper_than_any_recursion_is_removed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    nest(run, "d", 3000)
    clean([{"kind": "directory", "path": str(run)}], linger=0)
    assert not run.exists()


def test_a_link_in_the_place_of_a_promised_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "outside" / "below").mkdir(parents=True)
    (tmp_path / "run").symlink_to("outside")
    clean([{"kind": "directory", "path": str(tmp_path / "run")}], linger=0)
    assert (tmp_path / "outside" / "below").exists()
