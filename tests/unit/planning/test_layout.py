"""How large an exclude may become."""

from __future__ import annotations

import pytest

from moat_nb.errors import ConfigError
from moat_nb.guest.settings import Settings
from moat_nb.host.machine import Host
from moat_nb.planning.capabilities import Capabilities
from moat_nb.planning.kernel import plan_kernel
from moat_nb.planning.limits import MIB
from moat_nb.planning.mounts import Tmpfs
from moat_nb.planning.spec import HOME
from tests.unit.planning.planned import docker
from tests.unit.projects import Make


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", 1024 * MIB),
        ("container: {memory: 512}", 256 * MIB),
        ("kernel: {tmpfs_size: 9999}", 2 << 30),
        ("container: {memory: 512}\nkernel: {tmpfs_size: 100}", 100 * MIB),
    ],
)
def test_an_exclude_is_at_most_half_of_the_memory(
    config: Make, host: Host, text: str, size: int
) -> None:
    spec = docker(
        config(f"{text}\nmounts: [{{source: ., target: /workspace, exclude: [e]}}]"), host
    )
    (exclude,) = spec.mounts.excludes
    assert isinstance(exclude, Tmpfs)
    assert exclude.size == size


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("", (2 << 30, 2 << 30, 2 << 30)),  # of a machine with 8 GiB
        ("container: {memory: 512}", (256 * MIB, 256 * MIB, 256 * MIB)),
        (
            "container: {memory: 512}\nkernel: {home_size: 512, tmp_size: 20, shm_size: 30}",
            (512 * MIB, 20 * MIB, 30 * MIB),
        ),
    ],
)
def test_home_tmp_and_shared_memory_are_half_of_the_memory_unless_given(
    config: Make, host: Host, text: str, sizes: tuple[int, int, int]
) -> None:
    spec = docker(config(text), host)
    found = {mount.role: mount.size for mount in spec.mounts if isinstance(mount, Tmpfs)}
    assert (found["home"], found["tmp"], spec.limits.shm) == sizes


def test_each_size_above_the_memory_is_refused_with_its_place(config: Make, host: Host) -> None:
    text = "container: {memory: 512}\nkernel: {home_size: 513, tmp_size: 600, shm_size: 512}"
    with pytest.raises(ConfigError) as refused:
        docker(config(text), host)
    first, second = refused.value.problems
    assert first.where.endswith("moat.yaml:3:10")
    assert first.what == (
        "kernel.home_size 513 is more than the memory, 512 MB, which what it holds counts as"
    )
    assert first.hint == "give less, or container.memory: 513 or more"
    assert "kernel.tmp_size 600" in second.what


@pytest.mark.parametrize(("parents_are_roots", "ways"), [(True, [f"{HOME}/.cache"]), (False, [])])
def test_an_engine_gets_the_directories_on_the_way_to_a_mount(
    config: Make, host: Host, parents_are_roots: bool, ways: list[str]
) -> None:
    made = config(f"mounts: ['.:{HOME}/.cache/huggingface']")
    runtime = Capabilities(name="docker", parents_are_roots=parents_are_roots)
    spec = plan_kernel(made, host, runtime).spec
    assert [mount.target for mount in spec.mounts.ways] == ways
    told = Settings.from_argv(spec.command[2:]).mounts
    assert [mount.path for mount in told if mount.kind == "way"] == ways
