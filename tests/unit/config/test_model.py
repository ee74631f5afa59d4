"""Where a config's parts stand in its file."""

from __future__ import annotations

from moat_nb.config.model import Config
from tests.unit.projects import Make

TEXT = """\
dependencies: [redis, postgres]
container: {memory: 300}
mounts:
  - source: .
    target: /workspace
    exclude: [a, b/c]
kernel: {pool: 1, skip_dependencies: [redis]}
"""


def test_a_key_is_placed_by_itself_or_by_the_nearest_that_is_known(config: Make) -> None:
    read: Config = config(TEXT)
    assert read.place("container.memory") == "moat.yaml:3:1"
    assert read.place("kernel.pool").startswith("moat.yaml:8:")
    assert read.place("kernel.gpus") == "moat.yaml:8:1"
    assert read.place("ports") == "moat.yaml"


def test_a_path_inside_is_placed_by_its_exclude_or_the_mount_above(config: Make) -> None:
    read: Config = config(TEXT)
    assert read.place_of("/workspace/b/c") == "moat.yaml:7:18"
    assert read.place_of("/workspace/b") == "moat.yaml:5:5"
    assert read.place_of("/elsewhere") == "moat.yaml"


def test_services_that_the_kernel_does_without_are_not_wanted(config: Make) -> None:
    assert [service.name for service in config(TEXT).wanted_services] == ["postgres"]
