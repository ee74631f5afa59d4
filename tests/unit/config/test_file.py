"""Where a project's moat.yaml is found, and what is not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moat_nb.config.file import find
from moat_nb.config.reader import load
from moat_nb.config.yaml_nodes import MAX_BYTES
from moat_nb.errors import ConfigError

HOME = Path("/home/ada")


@pytest.mark.parametrize("name", ["moat.yaml", "agent.yaml"])
def test_the_file_is_found_from_a_directory_below_a_notebook_or_itself(
    tmp_path: Path, name: str
) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    notebook = below / "n.ipynb"
    notebook.touch()
    file = tmp_path / name
    file.touch()
    assert {find(start) for start in (tmp_path, below, notebook, file)} == {file}


def test_moat_yaml_is_preferred_and_the_nearest_wins(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    for file in (tmp_path / "moat.yaml", tmp_path / "agent.yaml", inner / "agent.yaml"):
        file.touch()
    assert find(tmp_path) == tmp_path / "moat.yaml"
    assert find(inner) == inner / "agent.yaml"


def test_a_linked_directory_is_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "moat.yaml").touch()
    (tmp_path / "link").symlink_to("real")
    assert find(tmp_path / "link") == tmp_path / "real" / "moat.yaml"
    assert find(tmp_path / "link" / "moat.yaml") == tmp_path / "real" / "moat.yaml"


def test_where_no_file_is_found_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"or above it, up to /.*; `moat-nb init` writes one for"):
        find(tmp_path)
    with pytest.raises(ConfigError, match="no such file or directory"):
        find(tmp_path / "nowhere")


def test_a_huge_file_is_refused_without_being_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "moat.yaml"
    file.touch()
    os.truncate(file, 50 * MAX_BYTES)
    with pytest.raises(ConfigError, match=f"larger than {MAX_BYTES} bytes"):
        load(file, home=HOME)


def test_a_linked_file_a_pipe_and_a_directory_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "moat.yaml"
    file.symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="symbolic link to /etc/passwd, and links are not"):
        load(tmp_path, home=HOME)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ConfigError, match="is not a regular file"):
        load(tmp_path, home=HOME)
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, home=HOME)


def test_the_search_ends_at_home_and_where_another_filesystem_begins(tmp_path: Path) -> None:
    (tmp_path / "moat.yaml").touch()
    home, below = tmp_path / "home", tmp_path / "home" / "a"
    below.mkdir(parents=True)
    with pytest.raises(ConfigError, match=f"or above it, up to {home}; "):
        find(below, home)
    assert find(below, tmp_path) == tmp_path / "moat.yaml"
    (home / "moat.yaml").touch()
    assert find(below, home) == home / "moat.yaml"
    with pytest.raises(ConfigError, match="or above it, up to /proc; "):
        find(Path("/proc/sys/kernel"))


def test_a_directory_with_the_name_of_a_file_is_searched(tmp_path: Path) -> None:
    project = tmp_path / "site.yaml"
    project.mkdir()
    (project / "moat.yaml").touch()
    assert find(project, tmp_path) == project / "moat.yaml"
