"""What a start asks for in place of the file's words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.config.overrides import override
from moat_nb.errors import ConfigError
from tests.unit.projects import Make


def test_overrides_replace_or_add_to_the_files_settings(config: Make, home: Path) -> None:
    given = config("env: {A: '1', B: '2'}\ncontainer: {memory: 256, cpus: 1}\nbase_image: a:1")
    changed = override(
        given, home=home, image="b:2", memory_mb=200, cpus=0.5, env={"B": "3", "C": "4"}
    )
    assert changed == replace(
        given,
        base_image="b:2",
        container=replace(given.container, memory_mb=200, cpus=0.5),
        env=(("A", "1"), ("B", "3"), ("C", "4")),
    )


def test_without_overrides_nothing_changes(config: Make, home: Path) -> None:
    given = config("env: {A: '1'}")
    assert override(given, home=home) == given


def test_a_mount_is_added_as_if_it_stood_in_the_file(config: Make, home: Path) -> None:
    given = config()
    changed = override(given, home=home, mounts=["./data:/data:ro"])
    assert changed.mounts[:-1] == given.mounts
    added = changed.mounts[-1]
    assert (added.source, added.target, added.read_only) == (home / "p" / "data", "/data", True)


@pytest.mark.parametrize("mount", ["data", "./x:relative", "./x:/workspace/../etc"])
def test_a_mount_that_the_file_may_not_have_is_refused(
    config: Make, home: Path, mount: str
) -> None:
    with pytest.raises(ConfigError, match=f"^--mount {mount}: "):
        override(config(), home=home, mounts=[mount])
