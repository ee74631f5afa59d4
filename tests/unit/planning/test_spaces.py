"""What can be full, and which key raises it."""

from __future__ import annotations

from moat_nb.planning.limits import MIB, Limits
from moat_nb.planning.mounts import Bind, EmptyFile, MountPlan, Tmpfs, Volume
from moat_nb.planning.spaces import Space, spaces

PLAN = MountPlan(
    mounts=(
        Bind(source="/p", target="/workspace"),
        Bind(source="/q", target="/q", read_only=True),
        Bind(source="/p/.git", target="/workspace/.git", role="pin"),
        Volume(name="v", target="/v"),
        Tmpfs(target="/home/moatuser", size=2 * MIB, role="home"),
        Tmpfs(target="/tmp", size=3 * MIB, role="tmp"),
        Tmpfs(target="/workspace/lib", size=4 * MIB),
        Tmpfs(target="/venv/x", size=4 * MIB, role="cover"),
        EmptyFile(target="/workspace/.env"),
    )
)


def test_what_a_sandbox_can_write_to_has_a_limit_and_its_key_or_is_the_hosts() -> None:
    found = tuple(spaces(PLAN, Limits(memory=MIB, shm=MIB)))
    assert found == (
        Space(path="/dev/shm", size=MIB, key="kernel.shm_size"),
        Space(path="/workspace", size=None),
        Space(path="/v", size=None),
        Space(path="/home/moatuser", size=2 * MIB, key="kernel.home_size"),
        Space(path="/tmp", size=3 * MIB, key="kernel.tmp_size"),
        Space(path="/workspace/lib", size=4 * MIB, key="kernel.tmpfs_size"),
    )
    assert [space.full for space in found[:2]] == [
        "/dev/shm is full: it can hold 1 MiB, which kernel.shm_size raises",
        "/workspace is full: the host's disk is",
    ]
