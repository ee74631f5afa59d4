"""`kernel.workspace: notebook`: which directory a kernel gets, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.config.model import WORKSPACE
from moat_nb.errors import ConfigError
from moat_nb.planning.notebook_directory import directory_notices, in_directory
from tests.unit.projects import Make

YAML = """
mounts:
  - source: .
    target: /workspace
    exclude: [solutions]
  - ./data:/data:ro
kernel: {workspace: notebook}
"""


def test_a_kernel_gets_the_directory_that_it_is_started_in(config: Make) -> None:
    given = config(YAML)
    below = given.directory / "ada/ps1"
    below.mkdir(parents=True)
    made = in_directory(given, below, anywhere=False)
    first, data = made.mounts
    assert (first.source, first.target) == (below.resolve(), WORKSPACE)
    assert [exclude.pattern for exclude in first.exclude] == ["solutions"]
    assert data == given.mounts[1]
    assert list(directory_notices(given, below)) == []


def test_what_is_not_known_yet_is_said(config: Make) -> None:
    given = config(YAML)
    assert in_directory(given, None, anywhere=False) is given
    assert list(directory_notices(given, None)) == [
        "workspace: the directory that each kernel is started in (kernel.workspace: notebook)"
    ]


def test_a_project_without_the_key_has_its_own_workspace(config: Make, tmp_path: Path) -> None:
    given = config("")
    assert in_directory(given, tmp_path, anywhere=False) is given
    assert list(directory_notices(given, None)) == []


@pytest.mark.parametrize("above", [".", ".."])
@pytest.mark.parametrize("anywhere", [False, True])
def test_no_kernel_sees_the_file_that_says_what_it_may(
    config: Make, above: str, anywhere: bool
) -> None:
    given = config(YAML)
    with pytest.raises(ConfigError) as raised:
        in_directory(given, given.directory / above, anywhere=anywhere)
    real = (given.directory / above).resolve()
    assert str(raised.value) == (
        "moat.yaml:8:10: kernel.workspace: notebook gives a kernel the directory that it is "
        f"started in, and {real} holds moat.yaml; start it below, in the directory of a notebook"
    )


def test_another_directory_is_the_users_to_say(config: Make, tmp_path: Path) -> None:
    given = config(YAML)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (given.directory / "link").symlink_to(elsewhere)
    for directory in (elsewhere, given.directory / "link"):
        with pytest.raises(ConfigError, match="`moat-nb install --workspace notebook` allows any"):
            in_directory(given, directory, anywhere=False)
        made = in_directory(given, directory, anywhere=True)
        assert made.mounts[0].source == elsewhere.resolve()


def test_a_copy_of_each_is_not_made_yet(config: Make) -> None:
    with pytest.raises(ConfigError, match=r"beside workspace\.mode: volume is not supported yet"):
        in_directory(config(YAML + "workspace: {mode: volume}"), None, anywhere=False)
