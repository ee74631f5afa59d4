"""Where a host path stands inside, and what stands behind a path inside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.planning.mount_paths import can_write, covered, hidden, to_host, to_sandbox
from moat_nb.planning.mounts import Bind, EmptyFile, MountPlan, Tmpfs, Volume, build

PLAN = MountPlan(
    mounts=build(
        [
            Bind(source="/home/ada/p", target="/workspace"),
            Bind(source="/home/ada/p/data", target="/data", read_only=True),
            Bind(source="/etc/app.conf", target="/workspace/app.conf"),
            Bind(source="/mnt/big", target="/workspace/big"),
            Volume(name="v", target="/workspace/volume"),
            Tmpfs(target="/workspace/.venv", size=1),
            Tmpfs(target="/data/cache", size=1),
            EmptyFile(target="/workspace/.env"),
            Tmpfs(target="/tmp", size=1, role="tmp"),
            Bind(source="/tmp/m/s", target="/tmp/m/s"),
        ]
    )
)


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("/home/ada/p", "/workspace"),
        ("/home/ada/p/", "/workspace"),
        ("/home/ada/p/nb/x.ipynb", "/workspace/nb/x.ipynb"),
        ("/home/ada/p/nb/../x", "/workspace/x"),
        ("/home/ada/p/data/a.csv", "/data/a.csv"),
        ("/home/ada/p/data/cache/x", "/workspace/data/cache/x"),  # shown beside the exclude
        ("/etc/app.conf", "/workspace/app.conf"),
        ("/mnt/big/x", "/workspace/big/x"),
        ("/tmp/m/s/1-1", "/tmp/m/s/1-1"),
        ("/home/ada", None),
        ("/home/ada/p2", None),
        ("/home/ada/p/../q", None),
        ("/home/ada/p/.venv/bin/python", None),
        ("/home/ada/p/.env", None),
        ("/home/ada/p/app.conf", None),  # behind another bind
        ("/home/ada/p/big/x", None),
        ("/home/ada/p/volume/x", None),
        ("/tmp/x", None),
    ],
)
def test_a_host_path_is_found_inside_where_it_shows_and_nowhere_else(
    host: str, inside: str | None
) -> None:
    assert to_sandbox(host, PLAN) == inside


@pytest.mark.parametrize(
    ("inside", "host"),
    [
        ("/workspace", "/home/ada/p"),
        ("x.ipynb", "/home/ada/p/nb/x.ipynb"),
        ("../x", "/home/ada/p/x"),
        ("/data/a.csv", "/home/ada/p/data/a.csv"),
        ("/workspace/app.conf", "/etc/app.conf"),
        ("/workspace/.venv/x", None),
        ("../.env", None),
        ("/workspace/volume/x", None),
        ("/etc/passwd", None),
        ("../../etc/passwd", None),
        ("/data/cache", None),
    ],
)
def test_a_path_inside_has_a_host_path_only_where_a_bind_is_on_top(
    inside: str, host: str | None
) -> None:
    assert to_host(inside, "/workspace/nb", PLAN) == host


@given(st.lists(st.sampled_from(["a", "..", ".", ".venv", ".env", "data", "cache"]), max_size=6))
def test_what_is_found_inside_leads_back_to_where_it_came_from(parts: list[str]) -> None:
    host = "/".join(["/home/ada/p", *parts])
    inside = to_sandbox(host, PLAN)
    if inside is not None:
        back = to_host(inside, "/", PLAN)
        assert back is not None
        assert to_sandbox(back, PLAN) == inside


def test_covered_are_the_host_paths_that_a_mount_stands_on() -> None:
    assert sorted(covered(PLAN)) == [
        "/home/ada/p/.env",
        "/home/ada/p/.venv",
        "/home/ada/p/app.conf",
        "/home/ada/p/big",
        "/home/ada/p/data/cache",
        "/home/ada/p/volume",
    ]


def test_thousands_of_excludes_are_looked_up_in_no_time() -> None:
    """To look at each mount for each other one would take hours."""
    excludes = [EmptyFile(target=f"/w/{n % 100}/{n}") for n in range(100_000)]
    plan = MountPlan(mounts=build([Bind(source="/p", target="/w"), *excludes]))
    assert set(hidden(plan)) == {f"/p/{n % 100}/{n}" for n in range(100_000)}
    assert covered(plan) == hidden(plan)


def test_a_mount_at_the_root_stands_on_nothing() -> None:
    plan = MountPlan(mounts=build([Bind(source="/p", target="/"), Tmpfs(target="/x", size=1)]))
    assert covered(plan) == ("/p/x",)


@pytest.mark.parametrize(
    ("path", "can"),
    [
        ("/home/ada/p", True),
        ("/home/ada/p/data/a.csv", True),  # by the bind of its parent, read-only by its own
        ("/home/ada/p/.venv/lib", False),
        ("/home/ada/p/.env", False),
        ("/home/ada", False),
        ("/mnt/big/x", True),
    ],
)
def test_a_path_can_be_written_where_one_bind_shows_it_that_is_not_read_only(
    path: str, can: bool
) -> None:
    assert can_write(path, PLAN) is can


def test_a_path_behind_a_read_only_bind_can_not_be_written() -> None:
    plan = MountPlan(mounts=build([Bind(source="/p", target="/w", read_only=True)]))
    assert not can_write("/p/x", plan)
