"""The excludes' proof, in a guest that is run for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.guest.running import COVER, MIB, ROOT, Start, tmpfs

pytestmark = pytest.mark.machine  # a guest is the first process of a namespace


def test_a_tmpfs_of_mode_1777_is_proved(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "node_modules"
    guest = start(mounts=[("directory", path)], setup=tmpfs(path))
    assert guest.hear("ready")["mounts"] == [
        {
            "path": str(path),
            "type": "tmpfs",
            "mode": 0o1777,
            "size": MIB,
            "used": 0,
            "writable": True,
            "executable": True,
            "problem": None,
        }
    ]
    assert guest.run(f"ls -A {path}") == ""


def test_a_wrong_mode_is_mended_when_the_tmpfs_is_the_guests_own(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "e"
    guest = start(mounts=[("directory", path)], setup=tmpfs(path, "mode=755"))
    assert guest.hear("ready")["mounts"][0]["mode"] == 0o1777
    assert guest.run(f"stat -c %a {path}") == "1777\n"


@pytest.mark.skipif(not ROOT, reason="needs a second uid, which only root can map")
def test_a_wrong_mode_is_refused_when_the_tmpfs_is_somebody_elses(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "e"
    guest = start(mounts=[("directory", path)], setup=tmpfs(path, "mode=755,uid=1"))
    assert guest.hear("refused")["mounts"][0]["problem"] == "its mode is 755, not 1777"
    assert guest.process.wait(timeout=300) == 3


@pytest.mark.parametrize(
    ("setup", "problem"),
    [
        ("mount -t tmpfs -o mode=1777,noexec tmpfs {}", "programs in it cannot be run (noexec)"),
        ("mount -t tmpfs -o mode=1777,ro tmpfs {}", "uid 0 cannot write to it"),
        ("mount -t tmpfs -o mode=1777,nr_inodes=1 tmpfs {}", "uid 0 cannot write to it"),
        (
            "mount -t tmpfs -o mode=1777 tmpfs {0}; touch {0}/b {0}/a",
            "it is not empty: it holds 'a'",
        ),
        ("mount -t proc proc {}", "it is proc, not a tmpfs of its own"),
        ("true", "it is not a mount, not a tmpfs of its own"),
        ("mount -t tmpfs tmpfs {0}; mount -t proc proc {0}", "it is proc, not a tmpfs of its own"),
        ("rmdir {}", "[Errno 2] No such file or directory: '{}'"),
    ],
)
def test_a_directory_that_is_not_what_was_promised_is_refused(
    start: Start, tmp_path: Path, setup: str, problem: str
) -> None:
    path = tmp_path / "e"
    path.mkdir()
    guest = start(mounts=[("directory", path)], setup=setup.format(path))
    assert guest.hear("refused")["mounts"][0]["problem"] == problem.format(path)
    assert guest.process.wait(timeout=300) == 3


def test_one_broken_promise_among_good_ones_is_refused_and_all_are_told(
    start: Start, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    mounts = [("directory", good), ("directory", bad)]
    guest = start(mounts=mounts, setup=tmpfs(good) + tmpfs(bad, "mode=1777,noexec"))
    problems = [mount["problem"] for mount in guest.hear("refused")["mounts"]]
    assert problems == [None, "programs in it cannot be run (noexec)"]


@pytest.mark.parametrize(
    ("setup", "problem"),
    [
        ("true", "it is not covered: the host's own file shows"),
        ("echo x > {1}; mount --bind {1} {0}", "what covers it is not an empty file"),
        ("touch {1}; mount --bind {1} {0}", "it can be written"),
        ("rm {0}", "[Errno 2] No such file or directory: '{0}'"),
    ],
)
def test_a_file_that_is_not_covered_by_a_read_only_empty_one_is_refused(
    start: Start, tmp_path: Path, setup: str, problem: str
) -> None:
    path, empty = tmp_path / ".env", tmp_path / "empty"
    path.write_text("KEY=secret")
    guest = start(mounts=[("file", path)], setup=setup.format(path, empty))
    assert guest.hear("refused")["mounts"][0]["problem"] == problem.format(path)


def test_a_file_covered_by_a_read_only_empty_one_is_proved(start: Start, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("KEY=secret")
    guest = start(mounts=[("file", path)], setup=COVER.format(path, tmp_path / "empty"))
    proof = guest.hear("ready")["mounts"][0]
    assert (proof["problem"], proof["writable"], proof["mode"]) == (None, False, 0o444)
    assert guest.run(f"cat {path}") == ""


def test_a_directory_on_the_way_to_a_mount_may_hold_something(start: Start, tmp_path: Path) -> None:
    path = tmp_path / ".cache"
    guest = start(mounts=[("way", path)], setup=f"{tmpfs(path)}touch {path}/x\n")
    assert guest.hear("ready")["mounts"][0]["writable"]
    assert guest.run(f"ls {path}") == "x\n"


def test_of_a_volume_it_is_told_whether_it_can_be_written(start: Start, tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    guest = start(mounts=[("volume", tmp_path / "v"), ("volume", tmp_path / "none")])
    proofs = guest.hear("ready")["mounts"]
    assert [(proof["writable"], proof["problem"]) for proof in proofs] == [
        (True, None),
        (False, None),
    ]
    assert not list((tmp_path / "v").iterdir())
