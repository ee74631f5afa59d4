"""kernel.requirements: a file that a sandbox may have written."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from moat_nb.config.file import digest_of
from moat_nb.config.model import Config, Dependency, KernelOptions
from moat_nb.errors import ConfigError
from moat_nb.planning.requirements import outdated, with_requirements

TEXT = """\
# pip-compile
pandas[excel]==2.1.0 \\
    --hash=sha256:abc \\
    --hash=sha256:def
    # via -r requirements.in

numpy >= 1, < 3  # fast
tomli; python_version < "3.11"
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    git = Dependency(kind="tool", name="git", where="moat.yaml:1:1")
    kernel = KernelOptions(requirements="deps/requirements.txt", where={"requirements": "m:2:3"})
    (tmp_path / "deps").mkdir()
    return Config(path=tmp_path / "moat.yaml", name="x", dependencies=(git,), kernel=kernel)


def write(config: Config, text: str) -> Path:
    file = config.directory / "deps/requirements.txt"
    file.write_text(text)
    return file


def refused(config: Config) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        with_requirements(config)
    return str(raised.value).splitlines()


def test_its_packages_are_dependencies_with_their_lines(config: Config) -> None:
    write(config, TEXT)
    found = with_requirements(config).dependencies[1:]
    place = "deps/requirements.txt"
    assert found == (
        Dependency(kind="pip", name="pandas[excel]", version="==2.1.0", where=f"{place}:2:1"),
        Dependency(kind="pip", name="numpy", version="<3,>=1", where=f"{place}:7:1"),
        Dependency(
            kind="pip", name="tomli", version='; python_version < "3.11"', where=f"{place}:8:1"
        ),
    )


def test_a_file_that_is_another_by_now_is_told(config: Config) -> None:
    config.path.write_text("name: a\n")
    config = replace(config, digest=digest_of(config.path.read_bytes()))
    write(config, "a\n")
    read = with_requirements(config)
    assert outdated(read) is None
    write(config, "a\nb\n")
    assert str(outdated(read)).startswith("deps/requirements.txt has changed since this sandbox")
    config.path.write_text("name: b\n")
    assert str(outdated(read)).startswith("moat.yaml has changed since")


def test_what_is_no_name_is_refused_all_at_once_with_its_line(config: Config) -> None:
    write(config, "-r other.txt\na\n./x.whl\nb @ https://example.org/b.whl\n--index-url=http://x\n")
    assert refused(config) == [
        f"deps/requirements.txt:{line}:1: {what}; write packages as NAME==VERSION, one a line"
        for line, what in (
            (1, "'-r other.txt': options of pip's are not taken"),
            (
                3,
                "'./x.whl' is not a requirement by name: Expected package name at the start of "
                "dependency specifier",
            ),
            (4, "'b @ https://example.org/b.whl' is not a requirement by name: it has an address"),
            (5, "'--index-url=http://x': options of pip's are not taken"),
        )
    ]


@pytest.mark.parametrize("kind", ["missing", "link", "link above", "pipe", "large"])
def test_what_is_no_plain_file_of_the_project_is_refused(config: Config, kind: str) -> None:
    file = config.directory / "deps/requirements.txt"
    if kind == "link":
        file.symlink_to("/etc/passwd")
    elif kind == "link above":
        file.parent.rmdir()
        file.parent.symlink_to("/etc")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "large":
        write(config, "a\n" * (1 << 18))
    (line,) = refused(config)
    assert line.startswith("m:2:3: kernel.requirements: deps/requirements.txt ")
    assert "root:" not in line
