"""mounts.py: the one order of mounts, whatever they come in."""

from __future__ import annotations

import random
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.planning.mounts import (
    Bind,
    EmptyFile,
    Mount,
    MountPlan,
    Tmpfs,
    Volume,
    build,
    is_below,
    mount_row,
    mount_rows,
    with_ways,
)

# Few names and shallow paths, so that many of the mounts nest.
TARGETS = st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(lambda p: "/" + "/".join(p))
MOUNTS = st.lists(
    st.one_of(
        TARGETS.map(lambda target: Bind(source="/host", target=target)),
        TARGETS.map(lambda target: Volume(name="v", target=target)),
        TARGETS.map(lambda target: Tmpfs(target=target, size=1)),
        TARGETS.map(lambda target: Tmpfs(target=target, size=1, role="tmp")),
        TARGETS.map(lambda target: EmptyFile(target=target)),
    ),
    unique_by=lambda mount: mount.target,
    max_size=12,
)


def covers(mount: Mount) -> bool:
    return isinstance(mount, (Tmpfs, EmptyFile))


@given(MOUNTS)
def test_every_parent_stands_before_its_children(mounts: list[Mount]) -> None:
    ordered = build(mounts)
    for place, mount in enumerate(ordered):
        assert not any(is_below(mount.target, later.target) for later in ordered[place + 1 :])


@given(MOUNTS)
def test_at_one_depth_binds_and_volumes_stand_before_what_covers(mounts: list[Mount]) -> None:
    ordered = build(mounts)
    for depth in range(2, 7):
        level = [covers(m) for m in ordered if len(PurePosixPath(m.target).parts) == depth]
        assert level == sorted(level)


@given(MOUNTS, st.randoms())
def test_the_order_does_not_depend_on_the_order_of_the_input(
    mounts: list[Mount], shuffler: random.Random
) -> None:
    shuffled = list(mounts)
    shuffler.shuffle(shuffled)
    assert build(shuffled) == build(mounts)


@given(MOUNTS)
def test_no_mount_is_lost_or_changed(mounts: list[Mount]) -> None:
    assert sorted(build(mounts), key=lambda mount: mount.target) == sorted(
        mounts, key=lambda mount: mount.target
    )


@given(MOUNTS, st.integers(min_value=0, max_value=12))
def test_mounts_that_are_added_find_their_places(mounts: list[Mount], split: int) -> None:
    plan = MountPlan(mounts=build(mounts[:split]), keep=("/k",))
    assert plan.with_mounts(*mounts[split:]) == MountPlan(mounts=build(mounts), keep=("/k",))


@given(MOUNTS.filter(len), st.data())
def test_two_mounts_at_one_target_are_refused(mounts: list[Mount], data: st.DataObject) -> None:
    twin = Bind(source="/other", target=data.draw(st.sampled_from(mounts)).target)
    with pytest.raises(ValueError, match=f"^two mounts at {twin.target}$"):
        build([*mounts, twin])
    with pytest.raises(ValueError, match="two mounts at"):
        MountPlan(mounts=build(mounts)).with_mounts(twin)


def test_excludes_are_what_covers_and_not_the_sandboxs_own_scratch() -> None:
    exclude, file = Tmpfs(target="/w/e", size=1), EmptyFile(target="/w/.env")
    scratch = (Tmpfs(target="/tmp", size=1, role="tmp"), Tmpfs(target="/h", size=1, role="home"))
    plan = MountPlan(mounts=build([Bind(source="/p", target="/w"), exclude, file, *scratch]))
    assert plan.excludes == (file, exclude)
    assert tuple(plan) == plan.mounts


@pytest.mark.parametrize(
    ("target", "parent", "below"),
    [
        ("/a/b", "/a", True),
        ("/a", "/", True),
        ("/a", "/a", False),
        ("/ab", "/a", False),
        ("/a", "/a/b", False),
    ],
)
def test_below_means_strictly_and_by_whole_names(target: str, parent: str, below: bool) -> None:
    assert is_below(target, parent) == below


def test_directories_between_a_tmpfs_and_a_mount_inside_it_are_tmpfs_of_its_kind() -> None:
    home = Tmpfs(target="/home/u", size=5, role="home")
    modules = Tmpfs(target="/w/node_modules", size=6)
    mounts = build(
        (
            *(home, modules, Bind(source="/p", target="/w")),
            Bind(source="/hf", target="/home/u/.cache/a/hf"),
            Bind(source="/pip", target="/home/u/.cache/pip"),
            Bind(source="/data", target="/home/u/data"),  # nothing is between
            Bind(source="/pkg", target="/w/node_modules/@scope/pkg", read_only=True),
            Bind(source="/q", target="/w/a/b/q"),  # in a bind, where it is made on the host
        )
    )
    plan = MountPlan(mounts=with_ways(mounts))
    assert plan.ways == (
        Tmpfs(target="/home/u/.cache", size=5, role="home", way=True),
        Tmpfs(target="/w/node_modules/@scope", size=6, way=True),
        Tmpfs(target="/home/u/.cache/a", size=5, role="home", way=True),
    )
    assert plan.excludes == (modules,)
    assert set(plan.mounts) == {*mounts, *plan.ways}
    assert mount_row(plan.ways[0])[3] == "5 bytes (on the way to a mount)"


def test_a_table_shows_some_of_thousands_of_excludes_and_the_number_of_the_rest() -> None:
    many = (Tmpfs(target=f"/w/{number}", size=1) for number in range(1000))
    plan = MountPlan(mounts=build((Bind(source="/p", target="/w"), *many)))
    rows = mount_rows(plan)
    assert rows[0] == ("/w", "bind", "rw", "/p")
    assert rows[-1] == ("960 more excludes", "", "", "")
    assert len(rows) == 42
