"""What a start would say against a change of the excludes."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.config.reader import load
from moat_nb.errors import ConfigError
from moat_nb.excludes.checks import check, pattern_problems
from moat_nb.excludes.file import read

TEXT = "mounts: [{source: ., target: /workspace, exclude: [%s]}]\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "moat.yaml").write_text(TEXT % "link/old")
    (tmp_path / "link").symlink_to("/")
    return tmp_path


def test_what_the_file_had_against_it_before_is_no_obstacle(directory: Path) -> None:
    file = read(directory)
    check(file, TEXT % "link/old, new")
    with pytest.raises(ConfigError, match="link/new passes through a symbolic link") as raised:
        check(file, TEXT % "link/old, link/new")
    assert len(raised.value.problems) == 1


def test_patterns_are_refused_by_their_place_in_the_list(directory: Path) -> None:
    config = load(directory, home=Path("/nowhere"))
    found = pattern_problems(config, "/workspace", ["link/old", "good", "../x", "link/x"])
    assert [index for index, _ in found] == [2, 3]
    assert "symbolic link" in found[1][1]
