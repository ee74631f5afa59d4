"""Where cgroups may be made, what is written to them, and their end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from moat_nb.host import cgroups
from moat_nb.host.cgroups import (
    PREFIX,
    Place,
    cgroup_of,
    delegated_place,
    find_place,
    remove_named,
)
from moat_nb.host.reaper import Reaper

MIB = 1 << 20


class Tree:
    """A process's view of its cgroups, made of files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.proc = root / "proc"
        self.proc.mkdir()
        self.mounts: list[str] = []
        self.own: list[str] = []

    def mount(self, point: str, options: str, *, kind: str = "cgroup", top: str = "/") -> None:
        at = self.root / point
        escaped = str(at).replace(" ", "\\040")
        self.mounts.append(f"30 25 0:26 {top} {escaped} rw,nosuid - {kind} cgroup rw,{options}")

    def cgroup(self, path: str, controllers: str = "") -> str:
        at = self.root / path
        at.mkdir(parents=True, exist_ok=True)
        (at / "cgroup.procs").write_text("")
        (at / "cgroup.subtree_control").write_text(controllers)
        return str(at)

    def place(self) -> Place | None:
        (self.proc / "cgroup").write_text("".join(f"{line}\n" for line in self.own))
        table = "".join(f"{line}\n" for line in self.mounts)
        (self.proc / "mountinfo").write_text(table, errors="surrogateescape")
        return find_place(self.proc)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_of_version_1_each_controller_has_a_place_of_its_own(tree: Tree) -> None:
    tree.mount("memory", "memory")
    tree.mount("both", "cpu,cpuacct")
    tree.mount("pids", "pids")
    tree.own = ["4:memory:/a/b", "3:pids:/", "2:cpu,cpuacct:/c", "0::/"]
    found = {
        "cpu": tree.cgroup("both/c"),
        "memory": tree.cgroup("memory/a/b"),
        "pids": tree.cgroup("pids"),
    }
    assert tree.place() == Place(version=1, parents=tuple(found.items()))


def test_of_version_1_memory_alone_is_enough_and_without_it_there_is_none(tree: Tree) -> None:
    tree.mount("pids", "pids")
    tree.own = ["4:memory:/", "3:pids:/"]
    tree.cgroup("pids")
    assert tree.place() is None
    tree.mount("memory", "memory")
    memory = tree.cgroup("memory")
    (tree.root / "pids/cgroup.procs").unlink()
    assert tree.place() == Place(version=1, parents=(("memory", memory),))


def test_in_a_container_the_mount_is_rooted_at_its_own_cgroup(tree: Tree) -> None:
    tree.mount("memory", "memory", top="/docker/abc")
    tree.own = ["4:memory:/docker/abc/x"]
    assert tree.place() is None
    inner = tree.cgroup("memory/x")
    assert tree.place() == Place(version=1, parents=(("memory", inner),))
    tree.own = ["4:memory:/elsewhere"]
    assert tree.place() is None


def test_names_of_mounts_may_hold_anything(tree: Tree) -> None:
    tree.mounts.append("31 25 0:27 / /mnt/\udcff\x0b rw - ext4 /dev/sda1 rw")
    tree.mount("a cgroup", "memory")
    tree.own = ["4:memory:/"]
    memory = tree.cgroup("a cgroup")
    assert tree.place() == Place(version=1, parents=(("memory", memory),))


def test_of_version_2_it_is_beside_the_own_one_as_that_has_processes(tree: Tree) -> None:
    tree.mount("all", "nsdelegate", kind="cgroup2")
    tree.own = ["0::/user/me"]
    tree.cgroup("all/user/me")
    above = tree.cgroup("all/user", "cpu memory pids")
    parents = (("cpu", above), ("memory", above), ("pids", above))
    assert tree.place() == Place(version=2, parents=parents)


def test_of_version_2_the_root_may_have_processes(tree: Tree) -> None:
    tree.mount("all", "nsdelegate", kind="cgroup2")
    tree.own = ["0::/"]
    at = tree.cgroup("all", "memory pids")
    assert tree.place() == Place(version=2, parents=(("memory", at), ("pids", at)))


def test_of_version_2_nothing_is_made_where_memory_is_not_handed_on(tree: Tree) -> None:
    tree.mount("all", "nsdelegate", kind="cgroup2")
    tree.own = ["0::/user/me"]
    tree.cgroup("all/user/me")
    tree.cgroup("all/user", "cpu pids")
    assert tree.place() is None


def test_what_systemd_has_delegated_is_handed_on_from_a_leaf(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.mount("all", "nsdelegate", kind="cgroup2")
    tree.own = ["0::/system.slice/hub.service"]
    service = Path(tree.cgroup("all/system.slice/hub.service"))
    (service / "cgroup.controllers").write_text("cpuset cpu memory pids")
    (service / "cgroup.procs").write_text("41\n42\n")
    assert tree.place() is None
    assert delegated_place(tree.proc) is None
    assert not (service / "moat-nb-hub").exists()
    assert (service / "cgroup.subtree_control").read_text() == ""
    monkeypatch.setattr(cgroups, "_is_delegated", lambda path: path == str(service))
    delegated_place(tree.proc)
    assert (service / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert (service / "moat-nb-hub/cgroup.procs").read_text() == "42"
    # As the kernel tells it then.
    tree.own = ["0::/system.slice/hub.service/moat-nb-hub"]
    (service / "cgroup.subtree_control").write_text("cpu memory pids")
    parents = tuple((name, str(service)) for name in ("cpu", "memory", "pids"))
    assert tree.place() == Place(version=2, parents=parents)


def written(place: Place, cpus: float | None) -> dict[str, str]:
    cgroup = place.named("3f9c01ab")
    cgroup.make(memory=256 * MIB, pids=64, cpus=cpus)
    return {
        str(file.relative_to(Path(at).parent)): file.read_text()
        for at in cgroup.directories
        for file in Path(at).iterdir()
    }


@pytest.mark.parametrize("cpus", [None, 1.5, 0.001])
def test_version_2_is_limited_by_these_files(tmp_path: Path, cpus: float | None) -> None:
    place = Place(version=2, parents=tuple((n, str(tmp_path)) for n in ("cpu", "memory", "pids")))
    own = f"{PREFIX}3f9c01ab"
    expected = {f"{own}/memory.max": f"{256 * MIB}", f"{own}/memory.swap.max": "0"}
    expected[f"{own}/pids.max"] = "64"
    if cpus is not None:
        expected[f"{own}/cpu.max"] = {1.5: "150000 100000", 0.001: "1000 100000"}[cpus]
    assert written(place, cpus) == expected


def test_version_1_is_limited_by_these_files(tmp_path: Path) -> None:
    parents = tuple((name, str(tmp_path / name)) for name in ("cpu", "memory", "pids"))
    for _, at in parents:
        Path(at).mkdir()
    own = f"{PREFIX}3f9c01ab"
    assert written(Place(version=1, parents=parents), 2) == {
        f"{own}/cpu.cfs_period_us": "100000",
        f"{own}/cpu.cfs_quota_us": "200000",
        f"{own}/memory.limit_in_bytes": f"{256 * MIB}",
        f"{own}/memory.memsw.limit_in_bytes": f"{256 * MIB}",
        f"{own}/memory.swappiness": "0",
        f"{own}/pids.max": "64",
    }


# ------------------------------------------------------------------------------- for real


@pytest.fixture
def place() -> Place:
    found = find_place()
    if found is None:
        pytest.fail("these tests run as root, or in a delegated cgroup")
    return found


@pytest.mark.machine
def test_a_process_is_killed_at_the_limit_and_the_cgroup_tells_so(place: Place) -> None:
    cgroup = place.named(os.urandom(4).hex())
    reaper = Reaper()
    for at in cgroup.directories:
        reaper.cgroup(at)
    try:
        cgroup.make(memory=64 * MIB, pids=16, cpus=1 if place.limits("cpu") else None)
        procs = " ".join(f"{at}/cgroup.procs" for at in cgroup.directories)
        take = f"for at in {procs}; do echo $$ >$at; done; head -c 200m /dev/zero | tail"
        done = subprocess.run(["sh", "-c", take], capture_output=True, check=False)
        assert done.returncode != 0
        assert cgroup.oom_kills >= 1
        assert cgroup.memory_used is not None
        with subprocess.Popen(["sh", "-c", "read go"], stdin=subprocess.PIPE) as process:
            memory = dict(cgroup.by_controller)["memory"]
            Path(memory, "cgroup.procs").write_text(str(process.pid))
            found = cgroup_of(process.pid)
            assert found is not None
            assert found.directories == (memory,)
            process.communicate(b"\n")
    finally:
        reaper.finish()
    assert not [at for at in cgroup.directories if Path(at).exists()]
    assert (cgroup.oom_kills, cgroup.memory_used) == (0, None)


@pytest.mark.machine
def test_what_a_killed_reaper_left_is_found_by_its_id(place: Place) -> None:
    id = os.urandom(4).hex()
    cgroup = place.named(id)
    cgroup.make(memory=64 * MIB, pids=16, cpus=None)
    assert sorted(remove_named([id])) == sorted(cgroup.directories)
    assert remove_named([id]) == []
