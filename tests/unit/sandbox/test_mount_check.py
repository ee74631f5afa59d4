"""What is mounted, beside what was planned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.guest.mountinfo import mount_table, read_table
from moat_nb.host.machine import User
from moat_nb.planning.limits import MIB, Limits
from moat_nb.planning.mounts import Bind, MountPlan, Tmpfs, build
from moat_nb.planning.spec import ContainerSpec
from moat_nb.sandbox.mount_check import Source, place_of, verify_mounts

HERE = read_table(
    [
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw",
        "2 1 8:2 / /home rw - ext4 /dev/sda2 rw",
        "3 1 0:30 /@data/inner /srv\\040data rw shared:1 - btrfs /dev/sdb rw",
        "4 2 0:31 / /home/ada/over rw - tmpfs tmpfs rw",
    ]
)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/etc/x", Source("8:1", "/etc/x")),
        ("/home/ada/p", Source("8:2", "/ada/p")),
        ("/home", Source("8:2", "/")),
        ("/homes", Source("8:1", "/homes")),
        ("/srv data/p", Source("0:30", "/@data/inner/p")),
        ("/home/ada/over/p", Source("0:31", "/p")),
    ],
)
def test_a_path_is_at_a_place_of_its_filesystem(path: str, place: Source) -> None:
    assert place_of(path, HERE) == place


def test_a_bind_that_can_be_written_though_it_is_read_only_is_named(
    spec: ContainerSpec, tmp_path: Path
) -> None:
    data = place(tmp_path / "data")
    closed = Bind(source=str(tmp_path / "data"), target="/srv", read_only=True, role="protected")
    planned = replace(spec, mounts=MountPlan(mounts=(closed,)))
    assert verify_mounts(planned, {"/srv": data._replace(read_only=True)}) is None
    assert verify_mounts(planned, {"/srv": data}) == (
        "/srv can be written, and was to be read-only"
    )


def test_in_a_chroot_no_place_is_known() -> None:
    assert place_of("/etc", {"/proc": HERE["/"]}) is None


@pytest.fixture
def spec(tmp_path: Path) -> ContainerSpec:
    """With one bind, of a directory that is there."""
    source = tmp_path / "data"
    source.mkdir()
    binds = [Bind(source=str(source), target="/srv"), Tmpfs(target="/srv/x", size=MIB)]
    return ContainerSpec(
        name="p",
        role="kernel",
        project="/p",
        runtime="docker",
        image="a:1",
        command=(),
        user=User(1, 1),
        env=(),
        workdir="/",
        mounts=MountPlan(mounts=build(binds)),
        limits=Limits(memory=MIB),
    )


def place(path: Path) -> Source:
    found = place_of(str(path), mount_table())
    assert found is not None
    return found


def test_a_bind_shows_what_was_planned_or_is_named(spec: ContainerSpec, tmp_path: Path) -> None:
    data, other = place(tmp_path / "data"), place(tmp_path / "other")
    assert verify_mounts(spec, {"/srv": data}) is None
    planned = f"is mounted at /srv, where {tmp_path}/data was planned"
    assert f"{other.path} {planned}" in str(verify_mounts(spec, {"/srv": other}))
    assert planned in str(verify_mounts(spec, {"/srv": replace_device(data)}))
    assert f"nothing {planned}" in str(verify_mounts(spec, {}))


def replace_device(source: Source) -> Source:
    return source._replace(device="0:99999")


def test_where_the_sandbox_has_a_kernel_of_its_own_a_link_is_looked_for(
    spec: ContainerSpec, tmp_path: Path
) -> None:
    assert verify_mounts(spec, {"/srv": Source("0:1", "/")}, comparable=False) is None
    (tmp_path / "data").rename(tmp_path / "aside")
    (tmp_path / "data").symlink_to("/etc")
    assert f"{tmp_path}/data is a link to /etc by now" in str(
        verify_mounts(spec, {}, comparable=False)
    )
